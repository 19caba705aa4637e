"""Publishing accepted batches over MQTT until the worker's receipt arrives."""
