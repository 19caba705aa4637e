"""When what is under way is published again, by a clock that goes on when it is told to."""

import pytest

from ingest_api.delivery.in_flight import AGAIN_S, GROWTH, JITTER, REFUSED_AGAIN_S, REFUSED_LATEST_S, SOONER, InFlight
from shared.contract.status import BatchKey

A = BatchKey(7, "a")


@pytest.fixture
def now_s() -> list[float]:
    return [0.0]


@pytest.fixture
def in_flight(now_s: list[float]) -> InFlight:
    in_flight = InFlight(lambda: now_s[0])
    in_flight.add(A, 1, 10)
    return in_flight


def test_possibly_dropped_batches_are_retried_sooner_with_growing_pauses(
    in_flight: InFlight, now_s: list[float]
) -> None:
    pause_s = AGAIN_S / SOONER
    for _ in range(5):
        in_flight.hurry()
        now_s[0] += pause_s * (1 - JITTER) * 0.99
        assert in_flight.take_due() == []
        now_s[0] += pause_s * 2 * JITTER * 1.01 + pause_s * 0.01
        assert in_flight.take_due() == [(A, 1)]
        pause_s *= GROWTH


def test_what_the_broker_refuses_is_due_after_a_second_and_each_time_it_is_less_soon(
    in_flight: InFlight, now_s: list[float]
) -> None:
    """Up to half a minute: a worker that comes back after an hour need not wait for an hour."""
    for pause_s in (REFUSED_AGAIN_S, 3.0, 9.0, 27.0, REFUSED_LATEST_S, REFUSED_LATEST_S):
        in_flight.refuse(A)
        now_s[0] += pause_s * (1 - JITTER) * 0.99
        assert in_flight.take_due() == []
        now_s[0] += pause_s * (2 * JITTER + 0.01) * 1.01
        assert in_flight.take_due() == [(A, 1)]


def test_hurry_never_delays_a_batch(in_flight: InFlight, now_s: list[float]) -> None:
    now_s[0] = AGAIN_S * (1 + JITTER)
    in_flight.hurry()
    assert in_flight.take_due() == [(A, 1)]


def test_what_was_published_at_once_is_not_all_due_at_once(in_flight: InFlight, now_s: list[float]) -> None:
    for number in range(2, 1000):
        in_flight.add(BatchKey(7, str(number)), number, 10)
    dues = []
    for part in (1 - JITTER, 1 - JITTER / 2, 1, 1 + JITTER / 2, 1 + JITTER):
        now_s[0] = AGAIN_S * part
        dues.append(len(in_flight.take_due()))
    assert dues[0] == 0
    assert all(150 < due < 350 for due in dues[1:])
