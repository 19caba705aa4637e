"""The gateway: accepts batches over HTTP and publishes them to the broker."""
