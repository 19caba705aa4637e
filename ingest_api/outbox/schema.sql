-- The gateway's outbox: what was accepted and is not known to be stored, and what became of every batch of late.

-- The payload is the last column: what comes before it is read without it. sender: whose quota the batch counts for.
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

-- since_us: of its status.
CREATE TABLE fates (
    batch_id TEXT NOT NULL,
    ship INTEGER NOT NULL,
    digest BLOB NOT NULL,
    readings INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('accepted', 'stored', 'rejected')),
    errors TEXT NOT NULL,
    since_us INTEGER NOT NULL,
    PRIMARY KEY (batch_id, ship)
) STRICT, WITHOUT ROWID;

CREATE INDEX fates_by_age ON fates (since_us) WHERE status <> 'accepted';
