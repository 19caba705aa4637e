-- Makes a file of version 1 one of version 2, which counts the whole slots of every ship, and marks changes.

DROP TRIGGER energy_inserted;
DROP TRIGGER energy_updated;
DROP TRIGGER energy_deleted;
ALTER TABLE ship_energy ADD COLUMN whole_slots INTEGER NOT NULL DEFAULT 0;
UPDATE ship_energy SET whole_slots = (
    SELECT count(*) FROM energy WHERE energy.ship = ship_energy.ship AND energy.covered_s >= 900
);

ALTER TABLE fleet_energy ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ship_day_energy ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
