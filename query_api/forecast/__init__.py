"""Forecasts of one ship's energy: pure models over slots, and a service that caches their forecasts."""
