-- Brings tables of version 2 to version 3, which knows what batches a `batch_id` belongs to.

ALTER TABLE first_seen ADD COLUMN content bytea;
