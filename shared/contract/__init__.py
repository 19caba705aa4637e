"""The wire format: batches, topics, and which readings are accepted."""
