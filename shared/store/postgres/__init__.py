"""The store in PostgreSQL, for a cluster: every ship belongs to a partition, and one worker at a time writes it."""
