-- What the dashboards ask where the store is PostgreSQL: each query under the name of dashboard, panel and query.
-- `./power dashboards` puts them into the dashboards of grafana/dashboards, in the place of InfluxQL.

-- fleet / Energy / A
SELECT sum(nwh)::float8 / 1e12 AS kwh
FROM fleet_energy
WHERE start_s BETWEEN $__from / 1000 AND $__to / 1000;

-- fleet / Ships / A
SELECT max(ships)::float8 AS ships
FROM (
    SELECT sum(ships) AS ships
    FROM fleet_energy
    WHERE ships > 0 AND start_s BETWEEN $__from / 1000 AND $__to / 1000
    GROUP BY start_s
) slots;

-- fleet / Whole slots / A
SELECT sum(whole_ships)::float8 / nullif(sum(ships), 0)::float8 AS whole
FROM fleet_energy
WHERE start_s BETWEEN $__from / 1000 AND $__to / 1000;

-- fleet / Provisional slots / A
SELECT sum(provisional_ships)::float8 AS provisional
FROM fleet_energy
WHERE start_s BETWEEN $__from / 1000 AND $__to / 1000;

-- fleet / Energy per slot, all ships / A
SELECT time, "all ships"
FROM generate_series($__from / $__interval_ms * $__interval_ms / 1000, $__to / 1000, $__interval_ms / 1000) AS time
LEFT JOIN (
    SELECT start_s / ($__interval_ms / 1000) * ($__interval_ms / 1000) AS time,
        sum(nwh)::float8 / 1e12 / count(DISTINCT start_s) AS "all ships"
    FROM fleet_energy
    WHERE ships > 0 AND start_s BETWEEN $__from / 1000 AND $__to / 1000
    GROUP BY 1
) found USING (time)
ORDER BY time;

-- fleet / Energy per slot, average ship / A
SELECT time, "average ship"
FROM generate_series($__from / $__interval_ms * $__interval_ms / 1000, $__to / 1000, $__interval_ms / 1000) AS time
LEFT JOIN (
    SELECT start_s / ($__interval_ms / 1000) * ($__interval_ms / 1000) AS time,
        sum(nwh)::float8 / 1e12 / sum(ships)::float8 AS "average ship"
    FROM fleet_energy
    WHERE ships > 0 AND start_s BETWEEN $__from / 1000 AND $__to / 1000
    GROUP BY 1
) found USING (time)
ORDER BY time;

-- fleet / Share of whole slots / A
SELECT time, whole
FROM generate_series($__from / $__interval_ms * $__interval_ms / 1000, $__to / 1000, $__interval_ms / 1000) AS time
LEFT JOIN (
    SELECT start_s / ($__interval_ms / 1000) * ($__interval_ms / 1000) AS time,
        sum(whole_ships)::float8 / sum(ships)::float8 AS whole
    FROM fleet_energy
    WHERE ships > 0 AND start_s BETWEEN $__from / 1000 AND $__to / 1000
    GROUP BY 1
) found USING (time)
ORDER BY time;

-- fleet / Share of whole slots / B
SELECT time, provisional
FROM generate_series($__from / $__interval_ms * $__interval_ms / 1000, $__to / 1000, $__interval_ms / 1000) AS time
LEFT JOIN (
    SELECT start_s / ($__interval_ms / 1000) * ($__interval_ms / 1000) AS time,
        sum(provisional_ships)::float8 / sum(ships)::float8 AS provisional
    FROM fleet_energy
    WHERE ships > 0 AND start_s BETWEEN $__from / 1000 AND $__to / 1000
    GROUP BY 1
) found USING (time)
ORDER BY time;

-- fleet / Ships with energy / A
SELECT time, ships
FROM generate_series($__from / $__interval_ms * $__interval_ms / 1000, $__to / 1000, $__interval_ms / 1000) AS time
LEFT JOIN (
    SELECT start_s / ($__interval_ms / 1000) * ($__interval_ms / 1000) AS time,
        sum(ships)::float8 / count(DISTINCT start_s) AS ships
    FROM fleet_energy
    WHERE ships > 0 AND start_s BETWEEN $__from / 1000 AND $__to / 1000
    GROUP BY 1
) found USING (time)
ORDER BY time;

-- fleet / Top ships, by days / A
SELECT ship::text AS ship, sum(nwh)::float8 / 1e12 AS kwh
FROM ship_day_energy
WHERE day_s > $__from / 1000 - 86400 AND day_s <= $__to / 1000
GROUP BY ship_day_energy.ship
ORDER BY kwh DESC
LIMIT 10;

-- fleet / Energy per slot, from the ships' slots / A
SELECT start_s AS time, sum(kwh) AS kwh
FROM energy
WHERE covered_s > 0 AND start_s BETWEEN $__from / 1000 AND $__to / 1000
GROUP BY start_s
ORDER BY start_s;

-- fleet / Top ships, exactly / A
SELECT ship::text AS ship, sum(kwh) AS kwh
FROM energy
WHERE covered_s > 0 AND start_s BETWEEN $__from / 1000 AND $__to / 1000
GROUP BY energy.ship
ORDER BY kwh DESC
LIMIT 10;

-- ship / $ship
SELECT ship::text AS ship
FROM ship_energy
WHERE covered_us > 0
ORDER BY ship_energy.ship;

-- ship / Energy / A
SELECT sum(kwh) AS kwh
FROM energy
JOIN ships USING (partition, ship)
WHERE ship = '$ship'::bigint AND covered_s > 0 AND start_s BETWEEN $__from / 1000 AND $__to / 1000;

-- ship / Cover / A
SELECT sum(covered_s) * 1000 / ($__to - $__from) AS cover
FROM energy
JOIN ships USING (partition, ship)
WHERE ship = '$ship'::bigint AND start_s BETWEEN $__from / 1000 AND $__to / 1000;

-- ship / Last seen / A
SELECT to_timestamp(max(time_us) / 1e6) AS "Time"
FROM readings
JOIN ships USING (partition, ship)
WHERE ship = '$ship'::bigint;

-- ship / Energy per slot / A
SELECT start_s AS time, kwh AS whole
FROM energy
JOIN ships USING (partition, ship)
WHERE ship = '$ship'::bigint AND covered_s >= 900 AND NOT provisional
    AND start_s BETWEEN $__from / 1000 AND $__to / 1000
ORDER BY start_s;

-- ship / Energy per slot / B
SELECT start_s AS time, kwh AS partly
FROM energy
JOIN ships USING (partition, ship)
WHERE ship = '$ship'::bigint AND covered_s > 0 AND covered_s < 900 AND NOT provisional
    AND start_s BETWEEN $__from / 1000 AND $__to / 1000
ORDER BY start_s;

-- ship / Energy per slot / C
SELECT start_s AS time, kwh AS provisional
FROM energy
JOIN ships USING (partition, ship)
WHERE ship = '$ship'::bigint AND covered_s > 0 AND provisional
    AND start_s BETWEEN $__from / 1000 AND $__to / 1000
ORDER BY start_s;

-- ship / Readings / A
SELECT to_timestamp(time_us / 1e6) AS time, value AS power
FROM (
    SELECT time_us, value, row_number() OVER (ORDER BY time_us) AS number, count(*) OVER () AS count
    FROM readings
    JOIN ships USING (partition, ship)
    WHERE ship = '$ship'::bigint AND unit = 'kW' AND time_us BETWEEN $__from * 1000 AND $__to * 1000
) found
WHERE number % (count / 5000 + 1) = 0
ORDER BY time_us;

-- ship / Readings / B
SELECT to_timestamp(time_us / 1e6) AS time, value AS energy
FROM (
    SELECT time_us, value, row_number() OVER (ORDER BY time_us) AS number, count(*) OVER () AS count
    FROM readings
    JOIN ships USING (partition, ship)
    WHERE ship = '$ship'::bigint AND unit = 'kWh' AND time_us BETWEEN $__from * 1000 AND $__to * 1000
) found
WHERE number % (count / 5000 + 1) = 0
ORDER BY time_us;

-- ship / Newest readings / A
SELECT to_timestamp(time_us / 1e6) AS "Time", value, unit, (sent_at_us / 1000)::float8 AS sent
FROM readings
JOIN ships USING (partition, ship)
WHERE ship = '$ship'::bigint AND time_us BETWEEN $__from * 1000 AND $__to * 1000
ORDER BY time_us DESC
LIMIT 50;
