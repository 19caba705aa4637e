"""Workers that each believe to own a partition in PostgreSQL: what must hold whichever of them writes."""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

from normalizer_worker.recorder import Recorder
from shared.domain.errors import Unavailable
from shared.domain.slots import DEFAULT_MAX_GAP_US, Slots, Window
from shared.store.postgres.partition import PostgresPartition
from shared.store.postgres.store import PostgresStore
from tests.support import reference
from tests.support.columns import as_columns
from tests.support.comparing import assert_same
from tests.support.reference import Reading
from tests.support.store_contract import assert_roll_ups
from tests.support.store_ships import assert_ships
from tests.support.strategies import START_US
from tests.support.waiting import until

NUMBER = 7
SHIPS = (1, 2, 3)


class Owner:
    """A worker's process: it takes the partition over when it has to, and forgets everything after an error."""

    def __init__(self, url: str) -> None:
        """Prepare one."""
        self.store = PostgresStore(url)
        self.partition: PostgresPartition | None = None
        self._recorder: Recorder | None = None

    def take(self) -> None:
        """Take the partition over."""
        self.partition = self.store.partition(NUMBER)
        self._recorder = Recorder(self.partition, DEFAULT_MAX_GAP_US)

    def record(self, batch: Sequence[Reading]) -> bool:
        """Record a batch, if it can; return whether that is acknowledged."""
        if self._recorder is None:
            self.take()
        assert self._recorder is not None
        try:
            self._recorder.record(as_columns(batch))
        except Unavailable:
            self._recorder = None
            return False
        return True


def reading(minute: int, value: float = 6.0, *, ship: int = 1, sent_at_us: int = 1) -> Reading:
    """Make a reading."""
    return Reading(ship, START_US + minute * 60_000_000, value, False, sent_at_us)


def assert_holds(store: PostgresStore, readings: Iterable[Reading]) -> None:
    """Compare all readings, slots and sums with what follows from those that were acknowledged."""
    readings = list(readings)
    expected = reference.slots(readings, DEFAULT_MAX_GAP_US)
    assert_same(Slots.concat([store.slots(ship, Window()) for ship in SHIPS]), expected)
    assert_roll_ups(store, expected)  # type: ignore[arg-type]  # it only reads
    assert_ships(store, readings)
    found = [row for ship in SHIPS for row in store.readings(ship, 0, 2**60, 10_000).rows()]
    assert {row[:2] for row in found} == {(each.ship, each.moment_us) for each in readings}


def assert_no_one_writes_after_another_took_over(url: str) -> None:
    """A halted owner that wakes up writes nothing; nor does what it remembers come back."""
    with closing(PostgresStore(url)) as store:
        one, other = Owner(url), Owner(url)
        with closing(one.store), closing(other.store):
            assert one.record([reading(0), reading(10)])
            other.take()
            assert other.record([reading(5)])
            assert not one.record([reading(20)]), "an owner of before has written"
            assert_holds(store, [reading(0), reading(5), reading(10)])
            assert one.record([reading(20)])
            assert not other.record([reading(30)])
            assert_holds(store, [reading(0), reading(5), reading(10), reading(20)])


def assert_a_takeover_waits_for_a_transaction_under_way(url: str) -> None:
    """The old owner's fence was good when it looked: the new one may read only after that transaction has ended."""
    one, other = Owner(url), Owner(url)
    with closing(one.store), closing(other.store), closing(PostgresStore(url)) as store:
        assert one.record([reading(0), reading(10)])
        assert one.partition is not None
        taken = threading.Thread(target=other.take)
        with one.partition.fenced() as transaction:
            transaction.run(())
            taken.start()
            until(lambda: not taken.is_alive() or _waits(store), "the other waits, or does not")
            was_over_early = not taken.is_alive()
        taken.join(20)
        assert not taken.is_alive()
        assert not was_over_early, "the partition was taken over in the middle of a transaction"


def assert_every_transaction_writes(url: str) -> None:
    """Also one that stores nothing: with a synchronous standby, it confirms whatever was committed before."""
    with closing(PostgresStore(url)) as store:
        partition = store.partition(NUMBER)
        before = store.read("SELECT pg_current_wal_insert_lsn()::text")
        with partition.transaction():
            pass
        assert store.read("SELECT pg_current_wal_insert_lsn()::text") != before, "nothing was written"


def _waits(store: PostgresStore) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(store.read(waiting)[0][0])


FENCE_CHECKS: Sequence[Callable[[str], None]] = (
    assert_no_one_writes_after_another_took_over,
    assert_a_takeover_waits_for_a_transaction_under_way,
    assert_every_transaction_writes,
)
