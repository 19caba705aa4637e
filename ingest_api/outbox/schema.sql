-- The gateway's outbox: accepted batches without a receipt, and the status of every recent batch.

-- The payload is the last column, so that the others are read without it. sender: whose quota the batch counts for.
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id TEXT NOT NULL,
    ship INTEGER NOT NULL,
    sender TEXT NOT NULL,
    digest BLOB NOT NULL,
    accepted_us INTEGER NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE (batch_id, ship)
) STRICT;

CREATE INDEX outbox_by_ship ON outbox (ship, number);

-- Batch status. since_us: when the batch got this status. superseded: how many of its readings do not count.
CREATE TABLE fates (
    batch_id TEXT NOT NULL,
    ship INTEGER NOT NULL,
    digest BLOB NOT NULL,
    readings INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('accepted', 'stored', 'rejected')),
    errors TEXT NOT NULL,
    since_us INTEGER NOT NULL,
    superseded INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch_id, ship)
) STRICT, WITHOUT ROWID;

CREATE INDEX fates_by_age ON fates (since_us) WHERE status <> 'accepted';
