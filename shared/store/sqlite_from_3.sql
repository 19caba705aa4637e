-- Makes a file of version 3 one of version 4, whose roll-ups are no longer kept by triggers, but by the store.

DROP TRIGGER IF EXISTS energy_inserted;
DROP TRIGGER IF EXISTS energy_updated;
DROP TRIGGER IF EXISTS energy_deleted;
