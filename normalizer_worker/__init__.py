"""The worker: takes readings from the broker, normalises them, and stores readings and energy."""
