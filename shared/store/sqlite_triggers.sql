-- The triggers that keep the roll-ups of `sqlite_schema.sql`.

CREATE TRIGGER energy_inserted AFTER INSERT ON energy BEGIN
    INSERT INTO fleet_energy VALUES (
        new.start_s, new.whole_kwh, new.rest_nwh, new.covered_us, 1, new.covered_s >= 900, new.provisional,
        random() >> 24, new.estimated_us
    ) ON CONFLICT DO UPDATE SET
        whole_kwh = whole_kwh + excluded.whole_kwh,
        rest_nwh = rest_nwh + excluded.rest_nwh,
        covered_us = covered_us + excluded.covered_us,
        ships = ships + 1,
        whole_ships = whole_ships + excluded.whole_ships,
        provisional_ships = provisional_ships + excluded.provisional_ships,
        mark = excluded.mark,
        estimated_us = estimated_us + excluded.estimated_us;
    INSERT INTO ship_day_energy VALUES (
        new.start_s - new.start_s % 86400, new.ship, new.whole_kwh, new.rest_nwh, new.covered_us,
        random() >> 24
    ) ON CONFLICT DO UPDATE SET
        whole_kwh = whole_kwh + excluded.whole_kwh,
        rest_nwh = rest_nwh + excluded.rest_nwh,
        covered_us = covered_us + excluded.covered_us,
        mark = excluded.mark;
    INSERT INTO ship_energy VALUES (
        new.ship, new.whole_kwh, new.rest_nwh, new.covered_us, new.covered_s >= 900
    ) ON CONFLICT DO UPDATE SET
        whole_kwh = whole_kwh + excluded.whole_kwh,
        rest_nwh = rest_nwh + excluded.rest_nwh,
        covered_us = covered_us + excluded.covered_us,
        whole_slots = whole_slots + excluded.whole_slots;
END;

CREATE TRIGGER energy_updated AFTER UPDATE ON energy BEGIN
    UPDATE fleet_energy SET
        whole_kwh = whole_kwh + new.whole_kwh - old.whole_kwh,
        rest_nwh = rest_nwh + new.rest_nwh - old.rest_nwh,
        covered_us = covered_us + new.covered_us - old.covered_us,
        whole_ships = whole_ships + (new.covered_s >= 900) - (old.covered_s >= 900),
        provisional_ships = provisional_ships + new.provisional - old.provisional,
        mark = random() >> 24,
        estimated_us = estimated_us + new.estimated_us - old.estimated_us
    WHERE start_s = new.start_s;
    UPDATE ship_day_energy SET
        whole_kwh = whole_kwh + new.whole_kwh - old.whole_kwh,
        rest_nwh = rest_nwh + new.rest_nwh - old.rest_nwh,
        covered_us = covered_us + new.covered_us - old.covered_us,
        mark = random() >> 24
    WHERE day_s = new.start_s - new.start_s % 86400 AND ship = new.ship;
    UPDATE ship_energy SET
        whole_kwh = whole_kwh + new.whole_kwh - old.whole_kwh,
        rest_nwh = rest_nwh + new.rest_nwh - old.rest_nwh,
        covered_us = covered_us + new.covered_us - old.covered_us,
        whole_slots = whole_slots + (new.covered_s >= 900) - (old.covered_s >= 900)
    WHERE ship = new.ship;
END;

CREATE TRIGGER energy_deleted AFTER DELETE ON energy BEGIN
    UPDATE fleet_energy SET
        whole_kwh = whole_kwh - old.whole_kwh,
        rest_nwh = rest_nwh - old.rest_nwh,
        covered_us = covered_us - old.covered_us,
        ships = ships - 1,
        whole_ships = whole_ships - (old.covered_s >= 900),
        provisional_ships = provisional_ships - old.provisional,
        mark = random() >> 24,
        estimated_us = estimated_us - old.estimated_us
    WHERE start_s = old.start_s;
    UPDATE ship_day_energy SET
        whole_kwh = whole_kwh - old.whole_kwh,
        rest_nwh = rest_nwh - old.rest_nwh,
        covered_us = covered_us - old.covered_us,
        mark = random() >> 24
    WHERE day_s = old.start_s - old.start_s % 86400 AND ship = old.ship;
    UPDATE ship_energy SET
        whole_kwh = whole_kwh - old.whole_kwh,
        rest_nwh = rest_nwh - old.rest_nwh,
        covered_us = covered_us - old.covered_us,
        whole_slots = whole_slots - (old.covered_s >= 900)
    WHERE ship = old.ship;
END;
