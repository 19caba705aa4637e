"""Readings, slots, timestamps and errors."""
