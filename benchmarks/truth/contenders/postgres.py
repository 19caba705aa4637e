"""PostgreSQL with hand-written time weighting: window functions, and the overlap of each reading with each slot.

https://www.postgresql.org/docs/current/tutorial-window.html and, for late corrections,
https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import psycopg

from benchmarks.postgresql import postgresql_url
from benchmarks.rounds import Options
from benchmarks.truth.contenders import Answer, Method
from benchmarks.truth.scenarios import Scenario

NAMES = ("PostgreSQL, time-weighted",)
TABLE = """
CREATE TEMP TABLE truth (ship integer, at timestamptz, value double precision, kind text, sent timestamptz,
    PRIMARY KEY (ship, at))
"""
PUT = """
INSERT INTO truth VALUES (%s, to_timestamp(%s), %s, %s, to_timestamp(%s))
ON CONFLICT (ship, at) DO UPDATE SET value = excluded.value, sent = excluded.sent WHERE truth.sent < excluded.sent
"""
WEIGHTED = """
WITH timed AS (
    SELECT kind, value, at, lag(at) OVER w AS before, lead(at) OVER w AS after, lead(value) OVER w - value AS rise
    FROM truth WHERE ship = %s WINDOW w AS (ORDER BY at)
), spoken AS (
    SELECT CASE kind WHEN 'energy_end' THEN tstzrange(before, at) ELSE tstzrange(at, after) END AS time,
        CASE kind WHEN 'counter' THEN rise ELSE value END AS value, kind IN ('held', 'line') AS is_power
    FROM timed WHERE CASE kind WHEN 'energy_end' THEN before ELSE after END IS NOT NULL
        AND (kind <> 'counter' OR rise >= 0)
), pieces AS (
    SELECT slot, value, is_power, extract(epoch FROM upper(time) - lower(time)) AS whole_s,
        extract(epoch FROM least(upper(time), slot + '15min') - greatest(lower(time), slot)) AS s
    FROM spoken JOIN generate_series(to_timestamp(%s), to_timestamp(%s), interval '15min') AS slot
        ON time && tstzrange(slot, slot + '15min')
)
SELECT extract(epoch FROM slot)::bigint, sum(value * s / CASE WHEN is_power THEN 3600 ELSE whole_s END)::float8
FROM pieces GROUP BY slot
"""


@contextmanager
def methods(_: Options) -> Iterator[list[Method]]:
    """Return the method, on the server at POWER_STORE_URL or one that is started."""
    with postgresql_url() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
        ships = count(1)

        def weighted(scenario: Scenario) -> Answer:
            ship = next(ships)
            rows = [(ship, each.moment_s, each.value, each.kind.label, each.sent_s) for each in scenario.sent]
            with connection.cursor() as cursor:
                cursor.executemany(PUT, rows)
            window = (scenario.load.start_s, scenario.load.end_s - 1)
            return Answer(dict(connection.execute(WEIGHTED, (ship, *window)).fetchall()))

        yield [weighted]
