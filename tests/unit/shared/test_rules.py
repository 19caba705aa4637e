"""Which moments are taken, and how many slots a batch may make: the gateway and the worker judge alike."""

import json
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer_worker.rule.normalize import normalize
from shared.contract.acceptance import CLOCKS_APART_US, OLDEST_US, Rules, judged_at
from shared.contract.decoding import InvalidBatch, decode, receive
from shared.contract.limits import MAX_SLOTS
from shared.domain.readings import LOOKS_BACK, Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US, LONGEST_US, SLOT_US, count_slots
from shared.domain.timestamps import LAST_US, iso, moment_us
from tests.support.columns import as_columns
from tests.support.decoding import NOW_US

SECOND_US = 1_000_000
RULES = Rules()


def batch(*moments: str, **members: Any) -> bytes:
    """Write a batch of readings at moments."""
    data = [{"datetime": moment, "value": 1} for moment in moments]
    return json.dumps({"spaceship_id": 1, "units": "kW", "data": data, **members}).encode()


def faults(payload: bytes, rules: Rules = RULES, now_us: int = NOW_US, **how: Any) -> list[tuple[str, str]]:
    """Give the places and sentences of a batch that is refused, none of one that is taken."""
    try:
        decode(payload, rules, now_us, **how)
    except InvalidBatch as error:
        return [(each.at, each.problem) for each in error.problems]
    return []


@pytest.mark.parametrize(
    ("ahead_s", "distance"),
    [
        (901, "15 min"),
        (5_399, "90 min"),
        (7_199.99, "2 h"),
        (86_400, "24 h"),
        (86_400 * 2.5, "2.5 days"),
        (86_400 * 3653, "3653 days"),
    ],
)
def test_what_is_ahead_of_the_clock_is_refused_with_how_far(ahead_s: float, distance: str) -> None:
    """A sender whose offset is wrong sees by how much."""
    moment = iso(NOW_US + round(ahead_s * SECOND_US))
    why = f"is {distance} ahead of now: check the sender's clock and its UTC offset"
    assert faults(batch("2019-01-05T04:37:00Z", moment)) == [("data[1].datetime", why)]
    assert faults(batch("2019-01-05T04:37:00Z", sent_at=moment)) == [("sent_at", why)]


def test_few_seconds_are_told_as_seconds() -> None:
    """Where a service takes nothing that is ahead."""
    assert faults(batch(iso(NOW_US + 5 * SECOND_US)), Rules(max_ahead_us=0)) == [
        ("data[0].datetime", "is 5 s ahead of now: check the sender's clock and its UTC offset")
    ]


@pytest.mark.parametrize(
    ("oldest", "told"), [("2000-01-01T00:00:00Z", "2000-01-01"), ("2010-05-06T07:00:00Z", "2010-05-06T07:00:00Z")]
)
def test_what_is_before_the_oldest_is_refused(oldest: str, told: str) -> None:
    """A clock without a battery starts in 1970 or in 1980."""
    rules, why = Rules(oldest_us=moment_us(oldest)), f"is before {told}: check the sender's clock"
    early = iso(moment_us(oldest) - 1)
    assert faults(batch(oldest, sent_at=oldest), rules) == []
    assert faults(batch(early, "2019-01-05T04:37:00Z", sent_at=early), rules) == [
        ("sent_at", why),
        ("data[0].datetime", why),
    ]


@given(st.lists(st.integers(OLDEST_US - 3 * SECOND_US, OLDEST_US + 3 * SECOND_US), min_size=1, max_size=40))
def test_every_reading_outside_is_named_and_no_other(moments: list[int]) -> None:
    """Whatever their order, and whether they are read in columns or one by one."""
    named = [at for at, _ in faults(batch(*map(iso, moments)))]
    assert named == [f"data[{row}].datetime" for row, us in enumerate(moments) if us < OLDEST_US]


# --- the worker's clock


def published(ahead_us: int, gateway_now_us: int) -> bytes:
    """Give what a gateway publishes of a batch whose reading is ahead of its clock, and whose `sent_at` it sets."""
    received = receive(batch(iso(gateway_now_us + ahead_us)), RULES, gateway_now_us)
    return received.message(UUID(int=7), gateway_now_us, gateway_now_us)


@pytest.mark.parametrize("behind_us", [-CLOCKS_APART_US, 0, SECOND_US, CLOCKS_APART_US])
@pytest.mark.parametrize("later_us", [0, SECOND_US, 86_400 * 365 * SECOND_US])
@pytest.mark.parametrize("max_ahead_us", [RULES.max_ahead_us, 0])
def test_a_worker_never_rejects_what_the_gateway_accepted(behind_us: int, later_us: int, max_ahead_us: int) -> None:
    """Whether its clock is ahead or behind, at once or at a redelivery much later."""
    rules = Rules(max_ahead_us=max_ahead_us)
    payload = published(max_ahead_us, NOW_US)
    assert faults(payload, rules, NOW_US - behind_us + later_us, topic_ship=1) == []


def test_a_ship_that_writes_when_it_was_accepted_gains_little() -> None:
    """No more than what two clocks of the service may differ by."""
    within = iso(NOW_US + RULES.max_ahead_us + CLOCKS_APART_US)
    beyond = iso(NOW_US + RULES.max_ahead_us + CLOCKS_APART_US + 1)
    far = "2199-01-01T00:00:00Z"
    assert faults(batch(within, accepted_at=far), topic_ship=1) == []
    assert [at for at, _ in faults(batch(beyond, accepted_at=far), topic_ship=1)] == ["data[0].datetime"]
    assert [at for at, _ in faults(batch(within, accepted_at=far))] == ["data[0].datetime"], "over HTTP it is ignored"


@pytest.mark.parametrize("accepted", ["yesterday", 5, None, ["2199-01-01T00:00:00Z"], "2019-01-05"])
def test_an_invalid_accepted_at_is_ignored(accepted: Any) -> None:
    """Like unknown members."""
    assert faults(batch("2019-01-05T04:37:00Z", accepted_at=accepted), topic_ship=1) == []


def test_an_early_accepted_at_makes_nothing_stricter() -> None:
    """A redelivery is judged by the later of both clocks."""
    assert judged_at(NOW_US, 0) == judged_at(NOW_US, None) == NOW_US


# --- slots

steps_us = st.sampled_from([1, SECOND_US, SLOT_US - 1, SLOT_US, 5 * SLOT_US, 3 * 3600 * SECOND_US, 86_400 * SECOND_US])
histories = st.lists(st.tuples(steps_us, st.integers(1, 3)), max_size=30).map(
    lambda steps: np.cumsum([NOW_US, *(step * times for step, times in steps)])
)


@given(histories, st.sampled_from([SLOT_US, 3600 * SECOND_US, DEFAULT_MAX_GAP_US]))
def test_slots_are_counted_as_the_rule_makes_them(moments: Any, max_gap_us: int) -> None:
    """Never fewer; and only where a silence ends in the slot in which it began, one more for each."""
    rows = [(1, int(us), 1.0, False, 0) for us in moments]
    made = len(normalize(as_columns(rows), max_gap_us))
    silences = int((np.diff(moments) > max_gap_us).sum())
    assert made <= count_slots(moments, max_gap_us) <= made + silences


@given(histories, st.sampled_from([0, SECOND_US, SLOT_US, DEFAULT_MAX_GAP_US]), st.sampled_from(list(Kind)[:-1]))
def test_slots_of_every_kind_are_counted_as_the_rule_makes_them(moments: Any, duration_us: int, kind: Kind) -> None:
    """Never fewer; and at most one more for each reading, but for the last of a counter, which speaks for nothing."""
    is_counter = kind == Kind.COUNTER_KWH
    durations_us = np.where(np.arange(len(moments)) % 2, 0, 0 if is_counter else duration_us)
    rows = [
        (1, int(us), float(i), kind, 0, int(each))
        for i, (us, each) in enumerate(zip(moments, durations_us, strict=True))
    ]
    made = len(normalize(as_columns(rows)))
    longest_us = LONGEST_US if is_counter else DEFAULT_MAX_GAP_US
    counted = count_slots(moments, longest_us, durations_us, looks_back=bool(LOOKS_BACK[kind]))
    assert made <= counted
    assert is_counter or counted <= made + len(moments)


def spaced(count: int, step_s: int) -> bytes:
    """Write readings at equal distances from 2000 on."""
    return batch(*(iso(OLDEST_US + i * step_s * SECOND_US) for i in range(count)))


@pytest.mark.parametrize(
    ("count", "step_s"),
    [(366 * 24, 3600), (100_000, 1800), (2_083, 86_400), (9_000, 86_401), (100_000, 60)],
    ids=["a year, hourly", "100,000 half-hours", "days", "days with a silence after each", "100,000 minutes"],
)
def test_what_real_imports_hold_is_taken(count: int, step_s: int) -> None:
    assert faults(spaced(count, step_s)) == []


def test_more_slots_than_a_batch_may_make_are_refused_with_both_numbers() -> None:
    """6 years of daily readings would make one batch of 210,336 slots, and keep every other ship waiting."""
    ((at, why),) = faults(spaced(2_192, 86_400))
    assert at == "data"
    assert why == ("covers 210,432 slots of 15 minutes, and a batch may cover 200,000: send it in several batches")
    assert faults(spaced(2_192, 86_400), Rules(max_gap_us=86_399 * SECOND_US)) == [], "there every one stands alone"


def test_the_bound_on_slots_holds_over_all_of_time() -> None:
    """Also where the settings take every moment."""
    rules = Rules(oldest_us=0, max_ahead_us=LAST_US, max_gap_us=31 * DEFAULT_MAX_GAP_US)
    assert [at for at, _ in faults(batch(iso(0), *(iso(i * 31 * DEFAULT_MAX_GAP_US) for i in range(71))), rules)] == [
        "data"
    ]
    assert MAX_SLOTS < 70 * 31 * 96
