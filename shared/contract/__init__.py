"""The wire format: batches, receipts, batch status, topics and limits."""
