-- Brings tables of version 1 to version 2, which knows readings of all kinds, estimated seconds and deletions. What is
-- stored is held power and energy, and keeps its meaning.

ALTER TABLE readings
    ALTER COLUMN value DROP NOT NULL,
    ADD COLUMN kind text CHECK (kind IN ('line', 'mean', 'energy_end', 'counter', 'unknown')),
    ADD COLUMN duration_us bigint,
    ADD COLUMN max_gap_us bigint,
    ADD COLUMN rollover double precision;
ALTER TABLE energy ADD COLUMN estimated_s double precision NOT NULL DEFAULT 0;
ALTER TABLE fleet_energy ADD COLUMN estimated_us bigint NOT NULL DEFAULT 0;
CREATE TABLE deletions (
    partition integer NOT NULL,
    ship bigint NOT NULL,
    start_us bigint NOT NULL,
    end_us bigint NOT NULL,
    sent_at_us bigint NOT NULL,
    PRIMARY KEY (partition, ship, start_us)
);

-- The intervals that are estimated (docs/rule.md), and what they cover of their slots.
UPDATE energy SET estimated_s = found.estimated_us / 1e6 FROM (
    WITH longest (us) AS (
        SELECT coalesce((SELECT value::bigint FROM pinned WHERE name = 'POWER_MAX_GAP_S'), 86400) * 1000000
    ), near AS (
        SELECT partition, ship, time_us, unit, lead(time_us) OVER own - time_us AS until_us,
            time_us - lag(time_us) OVER own AS since_us
        FROM readings WINDOW own AS (PARTITION BY partition, ship ORDER BY time_us)
    ), spoken AS (
        SELECT partition, ship, time_us,
            time_us + CASE WHEN until_us <= us THEN until_us WHEN since_us <= us THEN since_us ELSE 900000000 END AS end_us
        FROM near CROSS JOIN longest
        WHERE until_us IS NULL OR until_us > us
            OR unit = 'kW' AND until_us > 3600000000
            OR unit = 'kWh' AND since_us <= us AND 2 * until_us > 3 * since_us
    )
    SELECT partition, ship, start_s,
        sum(least(end_us, (start_s + 900) * 1000000) - greatest(time_us, start_s * 1000000)) AS estimated_us
    FROM spoken JOIN energy USING (partition, ship)
    WHERE start_s >= time_us / 900000000 * 900 AND start_s * 1000000 < end_us
    GROUP BY partition, ship, start_s
) AS found
WHERE energy.partition = found.partition AND energy.ship = found.ship AND energy.start_s = found.start_s;
UPDATE fleet_energy SET estimated_us = found.us, mark = mark + 1 FROM (
    SELECT partition, start_s, sum(round(estimated_s * 1e6))::bigint AS us FROM energy
    WHERE estimated_s > 0 GROUP BY partition, start_s
) AS found WHERE fleet_energy.partition = found.partition AND fleet_energy.start_s = found.start_s;
UPDATE ship_day_energy SET mark = mark + 1;
