"""A worker killed at any moment, and started again, ends with the same slots."""

import random
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shared.domain.readings import LOOKS_BACK, Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US, Slots, Window
from shared.domain.timestamps import iso
from shared.runtime.settings import StoreSettings
from shared.store.choice import open_store
from tests.support import reference
from tests.support.comparing import assert_same
from tests.support.reference import Reading
from tests.support.servers import Service, send_mqtt, started
from tests.support.service_processes import child
from tests.support.stores import STORES, service_on
from tests.support.waiting import until, until_holds

SHIPS = (1, 2, 3)
BATCHES = 300
KILLS = 8
START_US = 1_535_068_800_000_000


@pytest.fixture(params=STORES)
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    with started(service_on(request, tmp_path / "data")) as service:
        yield service


def batches(seed: int) -> list[list[Reading]]:
    """Make corrected, late and repeated batches; each has a `sent_at` of its own."""
    rng = random.Random(seed)
    made = []
    for sent in range(BATCHES):
        ship, kind, at = rng.choice(SHIPS), rng.choice(list(Kind)), rng.randrange(400)
        moments = [START_US + 60_000_000 * (at + i * rng.choice([1, 5])) for i in range(rng.randrange(1, 20))]
        made.append(
            [
                Reading(ship, moment_us, float(rng.randrange(100)), kind, START_US + sent)
                for moment_us in sorted(set(moments))
            ]
        )
    return made


def wire(batch: list[Reading]) -> dict[str, Any]:
    """Write a batch as it is sent."""
    kind = Kind(batch[0].kind)
    return {
        "spaceship_id": batch[0].ship,
        "units": kind.unit,
        "sent_at": iso(batch[0].sent_at_us),
        "data": [
            {"datetime": iso(each.moment_us), "value": None if kind == Kind.UNKNOWN else each.value} for each in batch
        ],
        **({"stamp": "end"} if LOOKS_BACK[kind] else {}),
        **({"between": "linear"} if kind == Kind.LINE_KW else {}),
        **({"counter": True} if kind == Kind.COUNTER_KWH else {}),
    }


def test_a_worker_killed_at_any_moment_ends_with_the_same_slots(own: Service) -> None:
    rng = random.Random(7)
    made = batches(seed=7)
    kills_after = set(rng.sample(range(BATCHES), KILLS))
    for i, batch in enumerate(made):
        send_mqtt(own, wire(batch))
        if i in kills_after:
            worker = child(own, "normalizer_worker")
            if worker is not None:
                worker.kill()
    until(lambda: child(own, "normalizer_worker"), "a worker runs")
    expected = reference.slots([each for batch in made for each in batch], DEFAULT_MAX_GAP_US)
    settings = StoreSettings.load({"POWER_DATA_DIR": str(own.folder), **own.environ})
    with closing(open_store(settings)) as store:
        until_holds(
            lambda: assert_same(Slots.concat([store.slots(ship, Window()) for ship in SHIPS]), expected), deadline_s=60
        )
    assert re.search(r"normalizer_worker( \d)? died \(SIGKILL\)", own.said())
