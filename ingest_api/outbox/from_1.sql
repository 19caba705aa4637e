-- Upgrades an outbox from version 1 to 2: ship and batch_id identify a batch, and a batch has a sender.
-- The senders of old batches are unknown: they count for their ship.

ALTER TABLE outbox RENAME TO old_outbox;
ALTER TABLE fates RENAME TO old_fates;
DROP INDEX fates_by_age;

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

INSERT INTO outbox
SELECT number, batch_id, ship, 'ship ' || ship, digest, accepted_us, payload FROM old_outbox ORDER BY number;

CREATE INDEX outbox_by_ship ON outbox (ship, number);

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

INSERT INTO fates
SELECT batch_id, ship, digest, readings, status, errors, since_us FROM old_fates ORDER BY batch_id;

CREATE INDEX fates_by_age ON fates (since_us) WHERE status <> 'accepted';

DROP TABLE old_outbox;
DROP TABLE old_fates;
DROP TABLE names;
