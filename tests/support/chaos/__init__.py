"""A test that tries to disprove "accepted means stored": load, killer and checker around the real processes."""
