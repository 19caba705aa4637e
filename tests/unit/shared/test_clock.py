"""The clock that rises with every look."""

import threading
import time

import pytest

from shared.domain.clock import StrictClock


def test_it_is_the_wall_clock() -> None:
    before_us = time.time_ns() // 1000
    assert before_us <= StrictClock().now_us() <= time.time_ns() // 1000


@pytest.mark.parametrize(
    "wall_ns",
    [[5_000_000] * 3, [5_000_000, 4_000_000, 1_000]],
    ids=["stands", "goes back"],
)
def test_it_rises_where_the_wall_clock_does_not(monkeypatch: pytest.MonkeyPatch, wall_ns: list[int]) -> None:
    """Of two batches the later one must count, also after the wall clock was set back."""
    looks = iter(wall_ns)
    monkeypatch.setattr("shared.domain.clock.time.time_ns", lambda: next(looks))
    strict = StrictClock()
    assert [strict.now_us() for _ in wall_ns] == [5000, 5001, 5002]


def test_threads_look_one_after_the_other() -> None:
    """Two requests that come at once must not get the same moment."""
    strict = StrictClock()
    other = threading.Thread(target=strict.now_us)
    with strict._lock:
        other.start()
        other.join(0.1)
        assert other.is_alive()
    other.join(5)
    assert not other.is_alive()
