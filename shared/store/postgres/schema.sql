-- The tables in PostgreSQL. `readings` is the truth, `energy` is derived from it by the worker, and the roll-ups after
-- them are written in the same transaction, as differences.
--
-- `partition` comes first in every primary key: on Citus it distributes all tables but `ships` and `pinned`, so that a
-- transaction, which concerns one partition, stays on one node.

-- Who owns a partition. Every transaction of an owner updates its row under the epoch that it knows.
CREATE TABLE fences (
    partition integer PRIMARY KEY,
    epoch bigint NOT NULL,
    owner text NOT NULL,
    taken_at timestamptz NOT NULL,
    transactions bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

CREATE TABLE ships (ship bigint PRIMARY KEY, partition integer NOT NULL);

-- Without a `kind` it is held power or energy, as the unit says; an unknown one has no value. What is not stated is null.
CREATE TABLE readings (
    partition integer NOT NULL,
    unit text NOT NULL CHECK (unit IN ('kW', 'kWh')),
    ship bigint NOT NULL,
    time_us bigint NOT NULL,
    value double precision,
    sent_at_us bigint NOT NULL,
    kind text CHECK (kind IN ('line', 'mean', 'energy_end', 'counter', 'unknown')),
    duration_us bigint,
    max_gap_us bigint,
    rollover double precision,
    PRIMARY KEY (partition, ship, time_us)
);

CREATE TABLE energy (
    partition integer NOT NULL,
    provisional boolean NOT NULL,
    ship bigint NOT NULL,
    start_s bigint NOT NULL,
    kwh double precision NOT NULL,
    covered_s double precision NOT NULL,
    estimated_s double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (partition, ship, start_s)
) WITH (fillfactor = 90);

-- The roll-ups. `nwh` is energy in whole nanowatt-hours (1 kWh is 10^12 of them), whose sums are exact; `mark` is
-- another random number after every change of a slot below: its sum tells whether anything has changed.
CREATE TABLE fleet_energy (
    partition integer NOT NULL,
    start_s bigint NOT NULL,
    covered_us bigint NOT NULL,
    ships integer NOT NULL,
    whole_ships integer NOT NULL,
    provisional_ships integer NOT NULL,
    mark bigint NOT NULL,
    nwh numeric NOT NULL,
    estimated_us bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (partition, start_s)
) WITH (fillfactor = 50);

CREATE TABLE ship_day_energy (
    partition integer NOT NULL,
    day_s bigint NOT NULL,
    ship bigint NOT NULL,
    covered_us bigint NOT NULL,
    mark bigint NOT NULL,
    nwh numeric NOT NULL,
    PRIMARY KEY (partition, day_s, ship)
) WITH (fillfactor = 70);

CREATE TABLE ship_energy (
    partition integer NOT NULL,
    ship bigint NOT NULL,
    covered_us bigint NOT NULL,
    whole_slots bigint NOT NULL,
    nwh numeric NOT NULL,
    PRIMARY KEY (partition, ship)
) WITH (fillfactor = 50);

-- What is deleted of a ship: none of its spans overlap.
CREATE TABLE deletions (
    partition integer NOT NULL,
    ship bigint NOT NULL,
    start_us bigint NOT NULL,
    end_us bigint NOT NULL,
    sent_at_us bigint NOT NULL,
    PRIMARY KEY (partition, ship, start_us)
);

-- The covariates of a ship, as JSON; `{}` if they were removed, so that older ones that arrive late do not come back.
CREATE TABLE covariates (
    partition integer NOT NULL,
    ship bigint NOT NULL,
    sent_at_us bigint NOT NULL,
    content text NOT NULL,
    PRIMARY KEY (partition, ship)
);

CREATE TABLE dead_letters (
    partition integer NOT NULL,
    digest bytea NOT NULL,
    topic text NOT NULL,
    payload bytea NOT NULL,
    payload_bytes bigint NOT NULL,
    reason text NOT NULL,
    problems text NOT NULL,
    first_us bigint NOT NULL,
    last_us bigint NOT NULL,
    times bigint NOT NULL,
    ship bigint NOT NULL,
    kept_bytes bigint NOT NULL,
    PRIMARY KEY (partition, digest)
);
CREATE INDEX dead_letters_by_last ON dead_letters (last_us DESC, digest);
CREATE INDEX dead_letters_by_ship ON dead_letters (partition, ship, last_us DESC, digest);

-- When a batch came first. Of one that a gateway accepted with a `batch_id`, the key is the ship and that, and the digest
-- of its content is beside it: another batch cannot have them.
CREATE TABLE first_seen (
    partition integer NOT NULL,
    key bytea NOT NULL,
    first_us bigint NOT NULL,
    noted_us bigint NOT NULL,
    content bytea,
    PRIMARY KEY (partition, key)
);
CREATE INDEX first_seen_by_age ON first_seen (partition, noted_us);

CREATE TABLE pinned (name text PRIMARY KEY, value text NOT NULL);
