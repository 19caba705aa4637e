"""What the worker records beside the store: dead letters and first-seen times."""
