-- Upgrades an outbox from version 2 to 3: a receipt says how many readings of its batch do not count.

ALTER TABLE fates ADD COLUMN superseded INTEGER NOT NULL DEFAULT 0;
