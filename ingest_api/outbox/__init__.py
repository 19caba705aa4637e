"""What the gateway has accepted and not yet seen stored, on disk."""
