"""What every service's process does alike."""

import signal

from shared.runtime.process import end_within


def test_a_second_stop_does_not_extend_the_time_limit() -> None:
    handler = signal.getsignal(signal.SIGALRM)
    try:
        end_within(1000)
        end_within(5000)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
