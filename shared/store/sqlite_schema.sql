-- The embedded store. `readings` is the truth, `energy` is derived from it by the worker, and what a change of slots adds
-- to the roll-ups is added in the same transaction (`roll_ups.py`).

-- Without a `kind` it is held power or energy, as the unit says; the value of an unknown one is 0 and means nothing.
-- What is 0 in the last three columns is not stated. A list is built anew for each row that is checked against it, which
-- takes as long as all the rest: without a kind it is not looked at.
CREATE TABLE readings (
    ship INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    value REAL NOT NULL,
    unit TEXT NOT NULL CHECK (unit IN ('kW', 'kWh')),
    sent_at_us INTEGER NOT NULL,
    kind TEXT CHECK (kind IS NULL OR kind IN ('line', 'mean', 'energy_end', 'counter', 'unknown')),
    duration_us INTEGER NOT NULL DEFAULT 0,
    max_gap_us INTEGER NOT NULL DEFAULT 0,
    rollover REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (ship, time_us)
) STRICT, WITHOUT ROWID;

-- Readings of past days (`sqlite_readings.py`): a row is a pack of a ship's readings from one time to another, both
-- included (`packs.py`). It has a rowid: otherwise most of a pack would be on a page of its own.
CREATE TABLE packed_readings (
    ship INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    pack BLOB NOT NULL,
    PRIMARY KEY (ship, first_us)
) STRICT;

CREATE INDEX packed_readings_by_last_us ON packed_readings (last_us);

-- The generated columns say the same in whole numbers, whose sums are exact: kWh as whole ones and a rest in
-- nanowatt-hours (1 kWh is 10^12 of them), cover in microseconds.
CREATE TABLE energy (
    ship INTEGER NOT NULL,
    start_s INTEGER NOT NULL,
    kwh REAL NOT NULL,
    covered_s REAL NOT NULL,
    provisional INTEGER NOT NULL CHECK (provisional IN (0, 1)),
    estimated_s REAL NOT NULL DEFAULT 0,
    whole_kwh INTEGER GENERATED ALWAYS AS (CAST(kwh AS INTEGER)) VIRTUAL,
    rest_nwh INTEGER GENERATED ALWAYS AS (CAST(round((kwh - CAST(kwh AS INTEGER)) * 1e12) AS INTEGER)) VIRTUAL,
    covered_us INTEGER GENERATED ALWAYS AS (CAST(round(covered_s * 1e6) AS INTEGER)) VIRTUAL,
    estimated_us INTEGER GENERATED ALWAYS AS (CAST(round(estimated_s * 1e6) AS INTEGER)) VIRTUAL,
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
    mark INTEGER NOT NULL DEFAULT 0,
    estimated_us INTEGER NOT NULL DEFAULT 0
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

-- What is deleted of a ship: none of its spans overlap.
CREATE TABLE deletions (
    ship INTEGER NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    sent_at_us INTEGER NOT NULL,
    PRIMARY KEY (ship, start_us)
) STRICT, WITHOUT ROWID;

-- The covariates of a ship, as JSON; `{}` if they were removed, so that older ones that arrive late do not come back.
CREATE TABLE covariates (ship INTEGER PRIMARY KEY, sent_at_us INTEGER NOT NULL, content TEXT NOT NULL) STRICT;

CREATE TABLE pinned (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
