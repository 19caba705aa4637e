"""The server's threads: each request is answered once, by a warm thread, and what was read is answered at the end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.http.threads import Threads
from tests.support.waiting import until


class Request:
    """Stands in for what waitress has read: the threads serve or cancel it."""

    def __init__(self, go: threading.Event, *clients: str) -> None:
        self.clients = clients
        self.said = self.thread = ""
        self.began = threading.Event()
        self._go = go

    def service(self) -> None:
        self.began.set()
        assert self._go.wait(20)
        self.thread = threading.current_thread().name
        self.said = "served"

    def cancel(self) -> None:
        self.said = "cancelled"


def test_what_waits_for_a_thread_is_served_before_the_end() -> None:
    go, threads = threading.Event(), Threads(1)
    requests = [Request(go) for _ in range(3)]
    for each in requests:
        threads.add_task(each)
    ending = threading.Thread(target=threads.shutdown)
    ending.start()
    go.set()
    ending.join(20)
    assert [each.said for each in requests] == ["served"] * 3


def test_it_waits_for_none_that_takes_too_long(caplog: pytest.LogCaptureFixture) -> None:
    go, threads = threading.Event(), Threads(1)
    first, second = Request(go), Request(go)
    threads.add_task(first)
    assert first.began.wait(20)
    threads.add_task(second)
    threads.shutdown(0.05)
    assert (first.said, second.said) == ("", "cancelled")
    assert "2 requests could not be answered in time" in caplog.text
    go.set()


class Interrupted(list[threading.Lock]):
    """What a signal does whose handler raises, just then, in the thread that hands out requests."""

    def pop(self, *_: object) -> threading.Lock:
        super().pop()
        raise SystemExit


def test_a_signal_to_end_just_as_a_thread_is_woken_leaves_none_asleep(caplog: pytest.LogCaptureFixture) -> None:
    go, threads = threading.Event(), Threads(1)
    go.set()
    resting(threads, 1)
    threads._idle = Interrupted(threads._idle)
    with pytest.raises(SystemExit):
        threads.add_task(request := Request(go))
    threads.shutdown(20)
    assert (request.said, caplog.text) == ("served", "")


@contextmanager
def running(count: int) -> Iterator[Threads]:
    threads = Threads(count)
    try:
        yield threads
    finally:
        threads.shutdown(20)


def resting(threads: Threads, count: int) -> None:
    until(lambda: len(threads._idle) == count, "all of the others rest")


def test_whoever_has_finished_last_takes_the_next() -> None:
    """It is the one whose memory is still at hand."""
    goes = [threading.Event() for _ in range(8)]
    requests = [Request(go) for go in goes]
    with running(8) as threads:
        for each in requests:
            threads.add_task(each)
        resting(threads, 0)
        for n, go in enumerate(goes):
            go.set()
            resting(threads, n + 1)
        for _ in range(3):
            threads.add_task(after := Request(goes[0]))
            until(lambda after=after: after.said, "it is served")  # type: ignore[misc]
            resting(threads, 8)
            assert after.thread == requests[-1].thread


def test_as_many_at_a_time_as_there_are_threads_and_each_once() -> None:
    go, served = threading.Event(), list[int]()

    class Counted(Request):
        def service(self) -> None:
            super().service()
            served.append(1)

    with running(4) as threads:
        requests = [Counted(go) for _ in range(200)]
        for each in requests:
            threads.add_task(each)
        for each in requests[:4]:
            assert each.began.wait(20)
        assert not any(each.began.is_set() for each in requests[4:])
        go.set()
    assert len(served) == 200
    assert {each.said for each in requests} == {"served"}


def test_one_that_fails_takes_no_thread_with_it(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Request):
        def service(self) -> None:
            raise SystemExit(1)

    go = threading.Event()
    go.set()
    with running(1) as threads:
        threads.add_task(Failing(go))
        threads.add_task(after := Request(go))
        until(lambda: after.said, "the next is served")
    assert "a connection has failed" in caplog.text


@pytest.mark.parametrize(
    ("waiting", "answered"),
    [
        (["crowd", "crowd", "crowd", "one", "other"], ["crowd", "one", "other", "crowd", "crowd"]),
        (["edge crowd", "edge crowd", "edge one", "other"], ["edge crowd", "other", "edge one", "edge crowd"]),
        (["liar a", "liar b", "liar c", "one"], ["liar a", "one", "liar b", "liar c"]),
    ],
)
def test_clients_take_turns(waiting: list[str], answered: list[str]) -> None:
    """One with many requests does not make the others wait for all of them; nor if it goes by many names."""
    go, order = threading.Event(), list[str]()

    class Noted(Request):
        def service(self) -> None:
            super().service()
            order.append(" ".join(self.clients))

    with running(1) as threads:
        threads.add_task(first := Request(go))
        assert first.began.wait(20)
        for each in waiting:
            threads.add_task(Noted(go, *each.split()))
        go.set()
    assert order == answered
