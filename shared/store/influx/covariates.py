"""Covariates in InfluxDB, of which nothing is written at once: a ship has two places, and the older one is written.

A text field holds 64 KB, so a place has as many points as its table needs. All of them have the digest of the table: a
place that is being written, or was left so, has no table with the digest of its first point.
"""

import hashlib
from collections.abc import Iterator

from shared.domain.covariates import Covariates
from shared.store.influx.roll_ups import PINNED_S
from shared.store.influx.server import NS_PER_S, Server, complete

PART_BYTES = 60_000
PLACE_NS = 1000
"""From one place to the next: more than a table has points."""
_START_NS = PINNED_S * NS_PER_S
_READ = f"SELECT content, digest, sent_at FROM covariates WHERE ship = $ship AND time >= {_START_NS} GROUP BY ship"


def stored_covariates(server: Server, ship: int) -> Covariates | None:
    """See `EnergyReader`."""
    found = _stored(server, ship)
    return None if found is None else found[0]


def put_covariates(server: Server, covariates: Covariates) -> None:
    """See `ReadingStore`."""
    stored = _stored(server, covariates.ship)
    first_ns = _START_NS + (0 if stored is None else PLACE_NS - stored[1])
    content, digest = covariates.content, _digest(covariates)
    parts = (content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES))
    server.write(
        f'covariates,ship={covariates.ship} content="{_quoted(part)}",digest="{digest}"'
        f",sent_at={covariates.sent_at_us}i {first_ns + at}"
        for at, part in enumerate(parts)
    )


def _stored(server: Server, ship: int) -> tuple[Covariates, int] | None:
    """Return a ship's covariates, and their place: 0 or `PLACE_NS`."""
    best = None
    for covariates, place_ns in _tables(server, ship):
        if covariates.replaces(best and best[0]):
            best = covariates, place_ns
    return best


def _tables(server: Server, ship: int) -> Iterator[tuple[Covariates, int]]:
    for table in map(complete, server.query([_READ], {"ship": str(ship)})):
        rows = list(zip(map(int, table["time"]), table["content"], table["digest"], table["sent_at"], strict=True))
        for place_ns in (0, PLACE_NS):
            parts = [row for row in rows if 0 <= row[0] - _START_NS - place_ns < PLACE_NS]
            for _, _, digest, sent_at_us in parts[:1]:
                content = "".join(part for _, part, of, _ in parts if of == digest)
                covariates = Covariates(ship, int(sent_at_us), content)
                if _digest(covariates) == digest:
                    yield covariates, place_ns


def _digest(covariates: Covariates) -> str:
    return hashlib.sha256(f"{covariates.sent_at_us} {covariates.content}".encode()).hexdigest()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
