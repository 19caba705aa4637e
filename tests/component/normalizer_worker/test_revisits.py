"""What is to be recorded once more waits its time, in a file, whatever the clock does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from normalizer_worker.revisits import AFTER_S, Revisits
from shared.domain.readings import Readings
from tests.support.strategies import START_US


class Clock:
    s = 1_000_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def revisits(tmp_path: Path, clock: Clock) -> Iterator[Revisits]:
    revisits = Revisits(tmp_path, clock)
    revisits.add(Readings.from_rows([(1, START_US, 2.5, True, 3)]))
    yield revisits
    revisits.close()


def test_it_is_due_after_its_time_until_it_is_done(revisits: Revisits, clock: Clock) -> None:
    clock.s += AFTER_S - 1
    assert revisits.due() is None
    clock.s += 1
    due = revisits.due()
    assert due is not None
    number, readings = due
    assert (readings.ship.tolist(), readings.moment_us.tolist()) == ([1], [START_US])
    assert (readings.value.tolist(), readings.is_energy.tolist(), readings.sent_at_us.tolist()) == ([2.5], [True], [3])
    revisits.done(number)
    assert revisits.due() is None


def test_a_clock_that_is_set_back_keeps_nothing_waiting_for_it(revisits: Revisits, clock: Clock) -> None:
    clock.s -= 86_400
    assert revisits.due() is not None


def test_what_is_due_comes_together_up_to_a_bound_and_the_rest_stays(
    revisits: Revisits, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else more would be put than is taken out: the worker looks once a turn, and a turn may put many."""
    monkeypatch.setattr("normalizer_worker.revisits.AT_ONCE", 3)
    for ship in (2, 3, 4):
        revisits.add(Readings.from_rows([(ship, START_US, 2.5, True, 3)]))
    clock.s += 1
    revisits.add(Readings.from_rows([(5, START_US, 2.5, True, 3)] * 5))
    clock.s += AFTER_S - 1
    taken = []
    while due := revisits.due():
        number, readings = due
        taken.append(readings.ship.tolist())
        revisits.done(number)
    assert taken == [[1, 2, 3], [4]]
    clock.s += 1
    assert len(revisits.due()[1]) == 5  # type: ignore[index]  # more than the bound: alone
