"""One owner of a partition at a time, however many workers believe to own it; faults in that are noticed."""

from collections.abc import Callable
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normalizer_worker.ledger.dead_letter import DeadLetter
from normalizer_worker.ledger.first_seen import Seen
from normalizer_worker.ledger.partition_first_seen import PartitionFirstSeen
from normalizer_worker.ledger.partition_letters import PartitionLetters
from shared.domain.errors import InvalidInput, InvalidSettings, Unavailable
from shared.domain.readings import Readings
from shared.domain.slots import ShipWindows
from shared.store.postgres import writer
from shared.store.postgres.store import PostgresStore
from tests.support.owners import (
    FENCE_CHECKS,
    NUMBER,
    Owner,
    assert_a_takeover_waits_for_a_transaction_under_way,
    assert_every_transaction_writes,
    assert_holds,
    assert_no_one_writes_after_another_took_over,
    reading,
)
from tests.support.postgres import Postgres
from tests.support.reference import Reading
from tests.support.strategies import histories


@pytest.mark.parametrize("check", FENCE_CHECKS)
def test_a_partition_is_fenced(postgres: Postgres, check: Callable[[str], None]) -> None:
    check(made(postgres.emptied()))


def made(url: str) -> str:
    """Have the tables made."""
    with closing(PostgresStore(url)) as store:
        store.check_writing()
    return url


def two_owners(url: str, batches: list[list[Reading]], turns: list[tuple[int, bool]]) -> None:
    """Let two owners record batches in turn; now and then one takes the partition from the other."""
    owners = (Owner(url), Owner(url))
    acknowledged: list[Reading] = []
    with closing(owners[0].store) as store, closing(owners[1].store):
        for batch, (turn, takes) in zip(batches, turns, strict=False):
            owner = owners[turn]
            if takes:
                owner.take()
            while not owner.record(batch):
                assert not takes, "it has just taken the partition"
            acknowledged += batch
        assert_holds(store, acknowledged)


few_examples = settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@few_examples
@given(histories(), st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=9, max_size=9))
def test_two_workers_that_take_a_partition_from_each_other_lose_and_invent_nothing(
    postgres: Postgres, batches: list[list[Reading]], turns: list[tuple[int, bool]]
) -> None:
    two_owners(made(postgres.emptied()), batches, turns)


NO_FENCE = "UPDATE fences SET transactions = transactions + 1 WHERE partition = %s AND %s > 0"
ONLY_READ = "SELECT epoch FROM fences WHERE partition = %s AND epoch = %s"
NOT_RAISED = writer._TAKE.replace("f.epoch + 1", "f.epoch")


@pytest.mark.parametrize(
    ("name", "statement", "check", "notices"),
    [
        ("_FENCE", NO_FENCE, assert_no_one_writes_after_another_took_over, "an owner of before has written"),
        ("_TAKE", NOT_RAISED, assert_no_one_writes_after_another_took_over, "an owner of before has written"),
        ("_FENCE", ONLY_READ, assert_a_takeover_waits_for_a_transaction_under_way, "in the middle of a transaction"),
        ("_FENCE", ONLY_READ, assert_every_transaction_writes, "nothing was written"),
    ],
    ids=["no fence", "epoch not raised", "fence only read", "fence only read, nothing stored"],
)
def test_a_fault_in_the_fence_would_be_noticed(  # noqa: PLR0913, PLR0917  # a row of the table
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    statement: str,
    check: Callable[[str], None],
    notices: str,
) -> None:
    assert getattr(writer, name) != statement
    monkeypatch.setattr(writer, name, statement)
    with pytest.raises(AssertionError, match=notices):
        check(made(postgres.emptied()))


def test_the_ledgers_of_a_partition_are_fenced_too(postgres: Postgres) -> None:
    url = made(postgres.emptied())
    with closing(PostgresStore(url)) as one, closing(PostgresStore(url)) as other:
        partition = one.partition(NUMBER)
        letters, first_seen = PartitionLetters(partition), PartitionFirstSeen(partition)
        other.partition(NUMBER)
        with pytest.raises(Unavailable, match=r"^partition 7 has another owner$"):
            letters.keep([DeadLetter.of("ships/1/readings", b"a", InvalidInput("bad"), 5)])
        with pytest.raises(Unavailable, match=r"^partition 7 has another owner$"):
            first_seen.first([Seen(b"a", 5)])
        assert one.read("SELECT count(*) FROM dead_letters") == [(0,)]
        assert one.read("SELECT count(*) FROM first_seen") == [(0,)]


def test_a_transaction_of_a_halted_owner_is_ended_by_the_server(postgres: Postgres) -> None:
    """Its lock would keep the next owner out for as long as the halted process exists."""
    url = made(postgres.emptied())
    with closing(PostgresStore(url)) as one, closing(PostgresStore(url)) as other:
        partition = one.partition(NUMBER)
        assert one.write("SHOW idle_in_transaction_session_timeout", ()) == [("10s",)]
        one.write("SELECT set_config('idle_in_transaction_session_timeout', '300ms', false)", ())

        def stand_still() -> None:
            with partition.transaction():
                partition.put_readings(Readings.from_rows([reading(0)]))
                partition.stored_slots(ShipWindows.from_rows([]))  # what is put is sent, and the fence with it
                epochs.append(other.partition(NUMBER).epoch)

        epochs: list[int] = []
        with pytest.raises(Unavailable, match="terminat"):
            stand_still()
        assert epochs == [partition.epoch + 1], "the other one has waited in vain"
        assert len(other.readings(1, 0, 2**60, 9)) == 0


def test_a_ship_in_another_partition_than_before_is_a_wrong_setting(postgres: Postgres) -> None:
    """Somebody has changed the exchange's bindings: its readings of before would count no more."""
    with closing(PostgresStore(made(postgres.emptied()))) as store:
        _put(store, 7, 1.0)
        with pytest.raises(InvalidSettings, match=r"^ship 1 belongs to partition 7 of the store, but .* partition 9"):
            _put(store, 9, 2.0)
        assert store.readings(1, 0, 2**60, 9).value.tolist() == [1.0]


def test_a_ship_of_a_transaction_that_failed_is_not_taken_for_known(postgres: Postgres) -> None:
    """What was undone includes the note of which partition it belongs to, without which no query finds it."""
    with closing(PostgresStore(made(postgres.emptied()))) as store:
        partition = store.partition(NUMBER)

        def fail() -> None:
            with partition.transaction():
                partition.put_readings(Readings.from_rows([reading(0)]))
                partition.stored_slots(ShipWindows.from_rows([]))  # it begins on the server
                partition.put_readings(Readings.from_rows([reading(0, ship=2)]))
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        with partition.transaction():
            partition.put_readings(Readings.from_rows([reading(0, ship=ship) for ship in (1, 2)]))
        assert [len(store.readings(ship, 0, 2**60, 9)) for ship in (1, 2)] == [1, 1]


def _put(store: PostgresStore, number: int, value: float) -> None:
    partition = store.partition(number)
    with partition.transaction():
        partition.put_readings(Readings.from_rows([reading(0, value)]))
