-- From version 1, of release 0.1.0, to version 2: the roll-ups get marks. The triggers of `sqlite_triggers.sql` follow.

ALTER TABLE fleet_energy ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ship_day_energy ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
DROP TRIGGER energy_inserted;
DROP TRIGGER energy_updated;
DROP TRIGGER energy_deleted;
