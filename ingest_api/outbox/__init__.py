"""Accepted batches on disk, until their receipts come."""
