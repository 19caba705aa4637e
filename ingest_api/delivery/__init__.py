"""Publishes accepted batches over MQTT, until the worker's receipts come."""
