"""The threads of an HTTP server: waitress hands requests to them, and whoever has finished last takes the next."""

import logging
import threading
import time
from collections import OrderedDict, deque
from typing import Protocol

from shared.runtime.process import FINISH_S

log = logging.getLogger(__name__)


class Task(Protocol):
    """A connection, of which a request has been read."""

    @property
    def clients(self) -> tuple[str, ...]:
        """Tell whose turn it takes: its address, and behind a proxy that of the proxy's client after it."""
        ...

    def service(self) -> None:
        """Answer it."""
        ...

    def cancel(self) -> None:
        """Give it up."""
        ...


class _Queue:
    """Requests that wait for a thread."""

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()
        self._of_clients: OrderedDict[str, _Queue] = OrderedDict()

    def add(self, task: Task, clients: tuple[str, ...]) -> None:
        if not clients:
            self._tasks.append(task)
            return
        queue = self._of_clients.get(clients[0])
        if queue is None:
            queue = self._of_clients[clients[0]] = _Queue()
        queue.add(task, clients[1:])

    def take(self) -> Task | None:
        """Give the first request of the client whose turn it is."""
        if self._tasks:
            return self._tasks.popleft()
        if not self._of_clients:
            return None
        client, queue = self._of_clients.popitem(last=False)
        task = queue.take()
        if queue:
            self._of_clients[client] = queue
        return task

    def __bool__(self) -> bool:
        return bool(self._tasks or self._of_clients)


class Threads:
    """Stands in for waitress's `ThreadedTaskDispatcher`.

    That one wakes the thread that has rested longest: each request runs on a cold one, and often finds that a thread
    which was awake has taken it. At its end it forgets the requests that wait for a thread; here they are answered.
    And it answers them in the order in which they came; here the clients that they came from take turns.
    """

    def __init__(self, count: int) -> None:
        """Start so many."""
        self._lock = threading.Lock()
        self._tasks = _Queue()
        self._wakes = [threading.Lock() for _ in range(count)]
        """For each thread what wakes it, by being released."""
        self._idle: list[threading.Lock] = []
        """Those of the threads that rest; that of the last to rest is the last."""
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, args=(wake,), name=f"http-{n}", daemon=True)
            for n, wake in enumerate(self._wakes)
        ]
        for each in self._threads:
            each.start()

    def add_task(self, task: Task) -> None:
        """Have a request answered."""
        with self._lock:
            self._tasks.add(task, task.clients)
            if self._idle:
                self._idle.pop().release()

    def shutdown(self, timeout_s: float = FINISH_S) -> None:
        """Answer what has been read, as far as there is time for it; waitress calls it in the end."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._stopping = True
            self._idle.clear()
            for wake in self._wakes:  # not only of those that rest: the signal to end may have broken off `add_task`
                if wake.locked():
                    wake.release()
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        with self._lock:
            left = []
            while (waiting := self._tasks.take()) is not None:
                left.append(waiting)
        for task in left:
            task.cancel()
        if busy := sum(each.is_alive() for each in self._threads):
            log.warning("%d requests could not be answered in time", busy + len(left))

    def _run(self, wake: threading.Lock) -> None:
        wake.acquire()
        while (task := self._next(wake)) is not None:
            try:
                task.service()
            except BaseException:  # the others go on
                log.exception("a connection has failed")

    def _next(self, wake: threading.Lock) -> Task | None:
        """Wait for a request; None once there are none any more, and will be none."""
        while True:
            with self._lock:
                if (task := self._tasks.take()) is not None:
                    return task
                if self._stopping:
                    return None
                self._idle.append(wake)
            wake.acquire()
