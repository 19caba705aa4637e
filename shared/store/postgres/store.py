"""The store in PostgreSQL: its reading half, and the partitions that workers write."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from shared.domain.errors import InvalidSettings, Refused
from shared.store.postgres.partition import PostgresPartition
from shared.store.postgres.reader import PostgresReader
from shared.store.postgres.server import Server
from shared.store.postgres.writer import Writer

URL, READ_URL = "POWER_STORE_URL", "POWER_POSTGRES_READ_URL"
PARTITIONS = "POWER_PARTITIONS"
"""The name under which the number of partitions is pinned."""


class PostgresStore(PostgresReader):
    """The reading half is safe to use from several threads; the partitions share one connection, and one thread."""

    def __init__(self, url: str, read_url: str | None = None) -> None:
        """Prepare; nothing is opened.

        Args:
            url: `postgresql://…`, of the primary.
            read_url: the same of a replica, which answers queries; None for the primary.

        Raises:
            InvalidSettings: an address cannot be read.

        """
        self._writes_to = Server(URL, url, writes=True)
        self._reads_from = Server(READ_URL if read_url else URL, read_url or url, writes=False)
        super().__init__(self._reads_from)
        self._writer = Writer(self._writes_to)

    def close(self) -> None:
        """Close the connections."""
        self._writer.close()
        super().close()

    def check(self) -> None:
        """Connect for reading.

        Raises:
            InvalidSettings: the server refuses us or cannot be used.
            Unavailable: it does not answer, or has no tables yet.

        """
        self._reads.check()

    def check_writing(self) -> None:
        """Connect for writing; make the tables, or bring them forward. Raises as `check`."""
        with self._writer.errors():
            self._writer.connect()

    @property
    def promise(self) -> str:
        """What the settings of the server promise for what is committed; of the replica if only that was used."""
        return self._writes_to.promise or self._reads_from.promise

    @property
    def name(self) -> str:
        """The server, for messages."""
        return self._writes_to.name

    def partition(self, number: int) -> PostgresPartition:
        """Take a partition over: its owner up to now can write it no more. See `PostgresPartition.take`."""
        partition = PostgresPartition(self._writer, number)
        partition.take()
        return partition

    def write(self, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run a statement of one's own, that no fence concerns, and return its rows."""
        return self._writer.rows(statement, parameters)

    def epochs(self) -> dict[int, int]:
        """Return the epoch of each partition that was ever taken."""
        return {int(number): int(epoch) for number, epoch in self.read("SELECT partition, epoch FROM fences")}

    def pinned(self, name: str, value: str) -> str:
        """See `ReadingStore`."""
        return self._writer.pinned(name, value)


class OnePartitionStore(PostgresStore):
    """Both halves of the port: one worker writes all ships, as one partition."""

    def __init__(self, url: str, read_url: str | None = None) -> None:
        """See `PostgresStore`."""
        super().__init__(url, read_url)
        self._own = PostgresPartition(self._writer, number=0)
        self._is_taken = False
        self.readings_around = self._own.readings_around
        self.stored_slots = self._own.stored_slots
        self.put_readings = self._own.put_readings
        self.put_slots = self._own.put_slots
        self.stored_readings = self._own.stored_readings
        self.stored_deletions = self._own.stored_deletions
        self.remove_readings = self._own.remove_readings
        self.put_deletions = self._own.put_deletions
        self.stored_covariates = self._own.stored_covariates
        self.put_covariates = self._own.put_covariates
        self.tidy = self._own.tidy

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `ReadingStore`. After an error the partition is taken anew: another worker may have had it."""
        if not self._is_taken:
            self._take()
        try:
            with self._own.transaction():
                yield
        except Refused:
            raise
        except BaseException:
            self._is_taken = False
            raise

    def _take(self) -> None:
        partitions = self.pinned(PARTITIONS, "1")
        if partitions != "1":
            raise InvalidSettings(f"{self.name} has {partitions} partitions: it is written by workers at a RabbitMQ")
        self._own.take()
        self._is_taken = True
