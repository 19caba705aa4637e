"""The threads of an HTTP server: waitress's thread pool with a fair queue, drained at the end."""

import threading
import time
from collections import OrderedDict, deque
from typing import Any

from waitress.task import ThreadedTaskDispatcher

from shared.http.channel import Channel
from shared.runtime.process import FINISH_S


class FairQueue:
    """Tasks, which are connections with a request, waiting for a thread; taken from each client in turn."""

    def __init__(self) -> None:
        """Create an empty queue."""
        self._tasks: deque[Channel] = deque()
        self._of_clients: OrderedDict[str, FairQueue] = OrderedDict()

    def append(self, task: Channel) -> None:
        """Add a task."""
        self.add(task, task.clients)

    def add(self, task: Channel, clients: tuple[str, ...]) -> None:
        """Add a task to the queue of its clients."""
        if not clients:
            self._tasks.append(task)
            return
        queue = self._of_clients.get(clients[0]) or FairQueue()
        queue.add(task, clients[1:])
        self._of_clients[clients[0]] = queue  # last: a signal may interrupt this, and no queue in here may be empty

    def popleft(self) -> Channel:
        """Remove and return the first task of the client whose turn it is."""
        if self._tasks:
            return self._tasks.popleft()
        client, queue = self._of_clients.popitem(last=False)
        task = queue.popleft()
        if queue:
            self._of_clients[client] = queue
        return task

    def __bool__(self) -> bool:
        """Return whether any task waits, without counting them."""
        return bool(self._tasks or self._of_clients)

    def __len__(self) -> int:
        """Count the tasks."""
        return len(self._tasks) + sum(map(len, self._of_clients.values()))


class _Idle:
    """The idle threads of the pool, in the place of its `Condition`: the last to become idle is woken first.

    A `Condition` wakes the thread that has been idle longest, whose data is no longer in the processor's cache.
    """

    def __init__(self, lock: threading.Lock) -> None:
        """Begin without idle threads; callers of the methods hold the lock."""
        self._lock = lock
        self._wakes: list[threading.Lock] = []

    def wait(self) -> None:
        """Release the lock until this thread is woken."""
        wake = threading.Lock()
        wake.acquire()
        self._wakes.append(wake)
        self._lock.release()
        wake.acquire()
        self._lock.acquire()

    def notify(self) -> None:
        """Wake a thread, if one is idle."""
        if self._wakes:
            self._wakes.pop().release()

    def notify_all(self) -> None:
        """Wake all idle threads."""
        while self._wakes:
            self.notify()


class Threads(ThreadedTaskDispatcher):
    """waitress's thread pool, with a fair queue; before it ends, it answers the requests that have been read."""

    def __init__(self, count: int) -> None:
        """Start so many threads."""
        super().__init__()
        self.queue: Any = FairQueue()
        self.queue_cv: Any = _Idle(self.lock)
        self.set_thread_count(count)

    def add_task(self, task: Any) -> None:
        """Queue a request; unlike waitress's, this logs no warning for each one that has to wait."""
        with self.lock:
            self.queue.append(task)
            self.queue_cv.notify()

    def shutdown(self, cancel_pending: bool = True, timeout: Any = FINISH_S) -> bool:  # noqa: FBT001, FBT002
        """Answer what has been read as far as time allows, then stop the threads. waitress calls this at the end."""
        deadline = time.monotonic() + timeout
        with self.lock:
            self.queue_cv.notify_all()  # the signal to stop may have interrupted `add_task` before it woke a thread
            while (self.queue or self.active_count) and time.monotonic() < deadline:
                self.thread_exit_cv.wait(0.02)
        rest_s: Any = max(deadline - time.monotonic(), 0.1)
        return bool(super().shutdown(cancel_pending, rest_s))
