"""The server's end: what it has read is answered, also where it waits for a thread."""

import threading

from shared.http import _Threads


class Request:
    """Stands in for what waitress has read: the threads serve or cancel it."""

    def __init__(self, go: threading.Event) -> None:
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
    go, threads = threading.Event(), _Threads()
    threads.set_thread_count(1)
    requests = [Request(go) for _ in range(3)]
    for each in requests:
        threads.add_task(each)  # type: ignore[arg-type]  # a stand-in
    ending = threading.Thread(target=threads.shutdown)
    ending.start()
    go.set()
    ending.join(20)
    assert [each.said for each in requests] == ["served"] * 3


def test_it_waits_for_none_that_takes_too_long() -> None:
    go, threads = threading.Event(), _Threads()
    threads.set_thread_count(1)
    first, second = Request(go), Request(go)
    threads.add_task(first)  # type: ignore[arg-type]  # a stand-in
    assert first.began.wait(20)
    threads.add_task(second)  # type: ignore[arg-type]  # the same
    threads.shutdown(timeout=0.05)
    assert (first.said, second.said) == ("", "cancelled")
    go.set()
