"""What every store must do in the cases that random histories seldom reach, inherited like the contract."""

from collections.abc import Iterator
from fractions import Fraction

import pytest

from normalizer_worker.recorder import Recorder
from shared.domain.readings import Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US, Window
from shared.store.port import ShipEnergy
from tests.support.columns import as_columns
from tests.support.reference import Slot
from tests.support.store_contract import (
    DAY_S,
    EVER_US,
    START_S,
    MakeStore,
    Store,
    assert_roll_ups,
    put,
    slots_of,
)
from tests.support.strategies import START_US

COVERED_S = 259.382576


class StoreEdges:
    """Inherited by one class per adapter, beside `StoreContract`."""

    @pytest.fixture
    def store(self, make_store: MakeStore) -> Iterator[Store]:
        store = make_store()
        yield store
        store.close()

    @pytest.mark.parametrize(
        ("was", "then"),
        [
            ((0.0, 300.0, True), (0.0, 600.0, True)),
            ((1.0, 900.0, True), (1.0, 900.0, False)),
        ],
        ids=["only the cover, of a ship at rest", "only the mark"],
    )
    def test_whatever_of_a_slot_differs_is_stored(
        self, store: Store, was: tuple[float, float, bool], then: tuple[float, float, bool]
    ) -> None:
        for row in (was, then):
            put(store, slots_of((1, 0, *row)))
        found = store.slots(1, Window())
        assert (found.kwh[0], found.covered_s[0], found.provisional[0]) == then
        fleet = store.fleet(Window())
        assert (fleet.covered_s[0], fleet.provisional[0]) == then[1:]

    def test_a_ship_that_used_nothing_is_named_and_one_that_said_nothing_is_not(
        self,
        store: Store,
    ) -> None:
        """0 is an answer, missing is none; the same over all time, whole days and parts of days."""
        put(store, slots_of((1, 0, 0.0, 900.0, False), (2, 0, 1.0, 900.0, False)))
        put(store, slots_of((2, 0, 0.0, 0.0, False)))
        for window in (
            Window(),
            Window(START_S, START_S + DAY_S),
            Window(START_S, START_S + 900),
            Window(START_S),
        ):
            assert store.top_ships(window, 9) == [ShipEnergy(1, 0.0, 900.0)]

    def test_slots_that_are_equal_count_each(self, store: Store) -> None:
        """At both edges of a window that cuts days."""
        put(
            store,
            slots_of(*[(1, at, 1.0, 900.0, False) for at in (94, 95, 96, 97, 192, 193)]),
        )
        window = Window(START_S + 94 * 900, START_S + 194 * 900)
        assert store.top_ships(window, 1) == [ShipEnergy(1, 6.0, 5400.0)]

    def test_a_tie_of_the_unit_goes_before_the_value(self, store: Store) -> None:
        """A kWh of the same moment of sending counts, though the kW is greater, and once there it stays."""
        for value, kind in ((7.0, Kind.POWER_KW), (5.0, Kind.ENERGY_KWH), (9.0, Kind.POWER_KW)):
            Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns([(1, START_US, value, kind, 2)]))
        assert list(store.readings(1, 0, EVER_US, 9).rows()) == [(1, START_US, 5.0, Kind.ENERGY_KWH, 2, 0, 0, 0.0)]

    def test_a_reading_that_was_replaced_is_as_old_as_what_replaced_it(
        self,
        store: Store,
    ) -> None:
        """What was sent between the two must not come back, however late it is on its way."""
        for value, sent_at_us in ((1.0, 1), (9.0, 9), (5.0, 5)):
            row = (1, START_US, value, Kind.POWER_KW, sent_at_us)
            Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns([row]))
        assert list(store.readings(1, 0, EVER_US, 9).rows()) == [(1, START_US, 9.0, Kind.POWER_KW, 9, 0, 0, 0.0)]

    def test_a_slot_is_whole_with_its_last_microsecond_and_not_before(
        self,
        store: Store,
    ) -> None:
        for covered_s, whole in ((899.999999, 0), (900.0, 1), (899.999999, 0), (899.0, 0)):
            put(store, slots_of((1, 0, 1.0, covered_s, False)))
            assert store.fleet(Window()).whole.tolist() == [whole]
            assert store.fleet(Window()).covered_s.tolist() == [covered_s]

    def test_cover_is_summed_to_the_microsecond(self, store: Store) -> None:
        """Also where the product of seconds and a million lies just below a whole number."""
        put(store, slots_of((1, 0, 1.0, COVERED_S, False), (2, 0, 1.0, COVERED_S, False)))
        assert store.fleet(Window()).covered_s.tolist() == [2 * COVERED_S]
        assert [each.covered_s for each in store.top_ships(Window(), 2)] == [COVERED_S] * 2

    def test_every_sum_follows_every_change_of_a_slot(self, store: Store) -> None:
        """A slot comes, changes in each column, and goes; another one of its ship, its day and its moment stays."""
        next_day = {
            (1, 101): (8.5, 900.0, False),
            (2, 102): (16.25, 300.0, True),
        }  # the first day is then a whole one
        stay = {(1, 1): (2.25, 900.0, False), (2, 0): (4.75, 300.0, True), **next_day}
        for row in [
            (1.5, 300.0, True),
            (7.25, 300.0, True),
            (7.25, 900.0, True),
            (7.25, 900.0, False),
            (-0.5, 450.0, False),
            (3.125, 900.0, True),
            (0.0, 0.0, False),
            (0.5, 60.0, True),
            (0.0, 0.0, False),
        ]:
            rows = {**stay, (1, 0): row}
            put(store, slots_of(*[(*key, *each) for key, each in rows.items()]))
            assert_roll_ups(
                store,
                {
                    (ship, START_S + 900 * at): Slot(Fraction(kwh), covered_us, provisional, covered_us * provisional)
                    for (ship, at), (kwh, covered_s, provisional) in rows.items()
                    if (covered_us := round(covered_s * 1e6))
                },
            )
