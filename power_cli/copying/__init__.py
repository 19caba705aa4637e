"""Copies ships with all their readings from one store into another."""
