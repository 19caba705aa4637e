"""What every service's process does alike."""

import resource
import signal
import sys
import threading
from pathlib import Path

import pytest

from shared.runtime.process import end_within, return_free_memory


def test_a_second_stop_does_not_extend_the_time_limit() -> None:
    handler = signal.getsignal(signal.SIGALRM)
    try:
        end_within(1000)
        end_within(5000)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the resident memory from /proc")
def test_memory_that_another_thread_has_freed_is_given_back() -> None:
    kept: list[bytearray] = []

    def work() -> None:
        large = []
        for _ in range(1000):
            large.append(bytearray(40_000))
            kept.append(bytearray(600))  # between two large blocks, so that these do not end the heap

    before = _resident_bytes()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return_free_memory()
    assert _resident_bytes() - before < 20_000_000


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()
