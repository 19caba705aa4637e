"""The gateway: takes batches over HTTP and publishes them to the broker."""
