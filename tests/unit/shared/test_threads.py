"""The server's threads answer each request once, let clients take turns, and answer what was read before they end."""

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
        self.said = ""
        self.began = threading.Event()
        self._go = go

    def service(self) -> None:
        self.began.set()
        assert self._go.wait(20)
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
    threads.shutdown(timeout=0.05)
    assert (first.said, second.said) == ("", "cancelled")
    assert "1 thread(s) still running" in caplog.text
    assert "Canceling 1 pending task(s)" in caplog.text
    go.set()


def test_a_signal_before_a_thread_is_woken_loses_no_request(caplog: pytest.LogCaptureFixture) -> None:
    """Its handler raises in the thread that hands out requests."""
    go, threads = threading.Event(), Threads(1)
    go.set()
    until(lambda: threads.active_count == 0, "the thread is idle")
    request = Request(go)
    threads.queue.append(request)  # without a wake-up
    threads.shutdown(timeout=20)
    assert (request.said, caplog.text) == ("served", "")


@contextmanager
def running(count: int) -> Iterator[Threads]:
    threads = Threads(count)
    try:
        yield threads
    finally:
        threads.shutdown(timeout=20)


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


def test_the_thread_that_became_idle_last_takes_the_next_request() -> None:
    """Its data is still in the processor's cache."""
    served_by = list[int]()

    class Told(Request):
        def service(self) -> None:
            super().service()
            served_by.append(threading.get_ident())

    go = threading.Event()
    go.set()
    with running(4) as threads:
        for _ in range(20):
            until(lambda: threads.active_count == 0, "all threads are idle")
            threads.add_task(told := Told(go))
            assert told.began.wait(20)
        until(lambda: len(served_by) == 20, "all are served")
    assert len(set(served_by)) == 1


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
    assert "Exception when servicing" in caplog.text


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
