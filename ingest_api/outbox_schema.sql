-- The gateway's outbox: what was accepted and is not known to be stored, and what became of every batch of late.

CREATE TABLE outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id TEXT NOT NULL UNIQUE,
    ship INTEGER NOT NULL,
    digest BLOB NOT NULL,
    accepted_us INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;

-- since_us: of its status.
CREATE TABLE fates (
    batch_id TEXT PRIMARY KEY,
    ship INTEGER NOT NULL,
    digest BLOB NOT NULL,
    readings INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('accepted', 'stored', 'rejected')),
    errors TEXT NOT NULL,
    since_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX fates_by_age ON fates (since_us) WHERE status <> 'accepted';

CREATE TABLE names (name TEXT NOT NULL) STRICT;
