"""Forecasts of the energy of one ship or several: pure models over slots, and services that cache their forecasts."""
