"""Forecasts of one ship's energy: pure models over slots, and what keeps their answers."""
