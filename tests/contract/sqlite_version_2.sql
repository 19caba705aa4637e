-- The embedded store's tables as the releases before kinds of readings made them (user_version 2), to test the upgrade from them.

-- The embedded store. `readings` is the truth, `energy` is derived from it by the worker, and the roll-ups at the end
-- are kept by triggers (`sqlite_triggers.sql`) inside every write to `energy`.

CREATE TABLE readings (
    ship INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    value REAL NOT NULL,
    unit TEXT NOT NULL CHECK (unit IN ('kW', 'kWh')),
    sent_at_us INTEGER NOT NULL,
    PRIMARY KEY (ship, time_us)
) STRICT, WITHOUT ROWID;

-- The generated columns say the same in whole numbers, whose sums are exact: kWh as whole ones and a rest in
-- nanowatt-hours (1 kWh is 10^12 of them), cover in microseconds.
CREATE TABLE energy (
    ship INTEGER NOT NULL,
    start_s INTEGER NOT NULL,
    kwh REAL NOT NULL,
    covered_s REAL NOT NULL,
    provisional INTEGER NOT NULL CHECK (provisional IN (0, 1)),
    whole_kwh INTEGER GENERATED ALWAYS AS (CAST(kwh AS INTEGER)) VIRTUAL,
    rest_nwh INTEGER GENERATED ALWAYS AS (CAST(round((kwh - CAST(kwh AS INTEGER)) * 1e12) AS INTEGER)) VIRTUAL,
    covered_us INTEGER GENERATED ALWAYS AS (CAST(round(covered_s * 1e6) AS INTEGER)) VIRTUAL,
    PRIMARY KEY (ship, start_s)
) STRICT, WITHOUT ROWID;

-- The roll-ups are not STRICT: a sum beyond 64 bits (absurd values, but a ship may send them) then goes on as a REAL
-- in the place of an error that would stop the worker. `mark` is another random number after every change of a slot
-- below, from -2^39 to 2^39: over some rows its sum tells whether anything in them has changed.
CREATE TABLE fleet_energy (
    start_s INTEGER PRIMARY KEY,
    whole_kwh INTEGER NOT NULL,
    rest_nwh INTEGER NOT NULL,
    covered_us INTEGER NOT NULL,
    ships INTEGER NOT NULL,
    whole_ships INTEGER NOT NULL,
    provisional_ships INTEGER NOT NULL,
    mark INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE ship_day_energy (
    day_s INTEGER NOT NULL,
    ship INTEGER NOT NULL,
    whole_kwh INTEGER NOT NULL,
    rest_nwh INTEGER NOT NULL,
    covered_us INTEGER NOT NULL,
    mark INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day_s, ship)
) WITHOUT ROWID;

CREATE TABLE ship_energy (
    ship INTEGER PRIMARY KEY,
    whole_kwh INTEGER NOT NULL,
    rest_nwh INTEGER NOT NULL,
    covered_us INTEGER NOT NULL,
    whole_slots INTEGER NOT NULL
);

CREATE INDEX ship_energy_by_kwh ON ship_energy (round(whole_kwh + rest_nwh / 1e12, 6) DESC);

CREATE TABLE pinned (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- The triggers that keep the roll-ups of `sqlite_schema.sql`.

CREATE TRIGGER energy_inserted AFTER INSERT ON energy BEGIN
    INSERT INTO fleet_energy VALUES (
        new.start_s, new.whole_kwh, new.rest_nwh, new.covered_us, 1, new.covered_s >= 900, new.provisional,
        random() >> 24
    ) ON CONFLICT DO UPDATE SET
        whole_kwh = whole_kwh + excluded.whole_kwh,
        rest_nwh = rest_nwh + excluded.rest_nwh,
        covered_us = covered_us + excluded.covered_us,
        ships = ships + 1,
        whole_ships = whole_ships + excluded.whole_ships,
        provisional_ships = provisional_ships + excluded.provisional_ships,
        mark = excluded.mark;
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
        mark = random() >> 24
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
        mark = random() >> 24
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
