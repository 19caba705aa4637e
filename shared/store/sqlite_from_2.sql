-- Makes a file of version 2 one of version 3, which knows readings of all kinds, estimated seconds and deletions.
-- What is stored is held power and energy, and keeps its meaning.

DROP TRIGGER IF EXISTS energy_inserted;
DROP TRIGGER IF EXISTS energy_updated;
DROP TRIGGER IF EXISTS energy_deleted;
ALTER TABLE readings ADD COLUMN kind TEXT CHECK (kind IS NULL OR kind IN ('line', 'mean', 'energy_end', 'counter', 'unknown'));
ALTER TABLE readings ADD COLUMN duration_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE readings ADD COLUMN max_gap_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE readings ADD COLUMN rollover REAL NOT NULL DEFAULT 0;
ALTER TABLE energy ADD COLUMN estimated_s REAL NOT NULL DEFAULT 0;
ALTER TABLE energy ADD COLUMN
    estimated_us INTEGER GENERATED ALWAYS AS (CAST(round(estimated_s * 1e6) AS INTEGER)) VIRTUAL;
ALTER TABLE fleet_energy ADD COLUMN estimated_us INTEGER NOT NULL DEFAULT 0;
CREATE TABLE deletions (
    ship INTEGER NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    sent_at_us INTEGER NOT NULL,
    PRIMARY KEY (ship, start_us)
) STRICT, WITHOUT ROWID;

-- The intervals that are estimated (docs/rule.md), and what they cover of their slots.
UPDATE energy SET estimated_s = found.estimated_us / 1e6 FROM (
    WITH longest (us) AS (
        SELECT coalesce((SELECT CAST(value AS INTEGER) FROM pinned WHERE name = 'POWER_MAX_GAP_S'), 86400) * 1000000
    ), near AS (
        SELECT ship, time_us, unit, lead(time_us) OVER own - time_us AS until_us, time_us - lag(time_us) OVER own AS since_us
        FROM readings WINDOW own AS (PARTITION BY ship ORDER BY time_us)
    ), spoken AS (
        SELECT ship, time_us,
            time_us + CASE WHEN until_us <= us THEN until_us WHEN since_us <= us THEN since_us ELSE 900000000 END AS end_us
        FROM near, longest
        WHERE until_us IS NULL OR until_us > us
            OR unit = 'kW' AND until_us > 3600000000
            OR unit = 'kWh' AND since_us <= us AND 2 * until_us > 3 * since_us
    )
    SELECT energy.ship, start_s,
        sum(min(end_us, (start_s + 900) * 1000000) - max(time_us, start_s * 1000000)) AS estimated_us
    FROM spoken CROSS JOIN energy ON energy.ship = spoken.ship
        AND start_s >= time_us / 900000000 * 900 AND start_s * 1000000 < end_us
    GROUP BY energy.ship, start_s
) AS found WHERE energy.ship = found.ship AND energy.start_s = found.start_s;
UPDATE fleet_energy SET estimated_us = found.us, mark = random() >> 24 FROM (
    SELECT start_s, sum(estimated_us) AS us FROM energy WHERE estimated_s > 0 GROUP BY start_s
) AS found WHERE fleet_energy.start_s = found.start_s;
UPDATE ship_day_energy SET mark = random() >> 24;
