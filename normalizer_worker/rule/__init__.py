"""The normalisation rule: readings in, 15-minute energy out. Pure: no clock, no I/O, no logging."""
