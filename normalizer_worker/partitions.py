"""The worker of a cluster: one `Worker` for each partition that RabbitMQ gives it, on one connection."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from normalizer_worker.backlog import Backlog, Room
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.worker import IDLE_S, Source, Worker, serve

OF_A_SHIP = Room(300, 8 * 1024 * 1024)
OF_ALL = Room(400, 16 * 1024 * 1024)
"""The backlog of a partition: less than the broker sends of it unacknowledged, so that its other ships go on."""


class Connection(Protocol):
    """Where the messages of all partitions come from; see `amqp.connection.AmqpConnection`."""

    def next_partition(self, wait_s: float) -> int | None:
        """Return the partition whose messages have waited longest, or None after `wait_s`."""

    def of(self, partition: int) -> Source:
        """Return the messages of one partition."""

    def kept_alive(self) -> AbstractContextManager[None]:
        """Context for slow work; see `Source`."""

    def close(self) -> None:
        """End the connection."""


def backlog_of_partition(max_gap_us: int) -> Backlog:
    """Return the backlog for one partition's worker."""
    return Backlog(max_gap_us, OF_A_SHIP, OF_ALL)


class Partitions:
    """Serves partition after partition.

    A partition's worker, with its epoch and all that it remembers, is made with the partition's first message on a
    connection, and dropped with the connection: what another worker has stored meanwhile is then read anew.
    """

    def __init__(
        self, connect: Callable[[], Connection], make_worker: Callable[[int], Worker], metrics: WorkerMetrics
    ) -> None:
        """Keep the parts.

        Args:
            connect: opens a new connection, or raises `Unavailable`.
            make_worker: takes a partition over, so that no other worker can write it any more, and makes its worker.
            metrics: hears of connections and progress.

        """
        self._connect = connect
        self._make_worker = make_worker
        self._metrics = metrics
        self._workers: dict[int, Worker] = {}

    def run(self, stopping: Callable[[], bool], ready: Callable[[], None]) -> None:
        """Work until `stopping`, as `Worker.run` does."""
        serve(self._connect_anew, self.step, self._metrics, stopping, ready)

    def _connect_anew(self) -> Connection:
        self._workers.clear()
        return self._connect()

    def step(self, connection: Connection) -> int:
        """Serve the partition whose messages have waited longest, and one that has work left; return what was done.

        Raises:
            Unavailable: broker or store is unavailable, or another worker has taken a partition over.

        """
        busy = next((number for number, worker in self._workers.items() if worker.has_work), None)
        number = connection.next_partition(IDLE_S if busy is None else 0)
        chosen = {each for each in (number, busy) if each is not None}
        self._metrics.progressed()
        return sum(self._worker(each, connection).step(connection.of(each)) for each in chosen)

    def _worker(self, number: int, connection: Connection) -> Worker:
        """Return a partition's worker, which is the last in turn from now on."""
        worker = self._workers.pop(number, None)
        if worker is None:
            with connection.kept_alive():
                worker = self._make_worker(number)
        self._workers[number] = worker
        return worker
