"""The answers' rows: what stands in them, and how numbers are written."""

import json
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.answers.columns import Heading, Table, table_of
from query_api.answers.formats import FORMATS
from query_api.answers.rows import Row, number, timestamp
from query_api.routes.top_users import top_rows
from shared.domain.slots import Slots, Window
from shared.store.port import FleetSlots, ShipEnergy

START_S = 1_535_068_800  # 2018-08-24T00:00:00Z
HOUR_S = 3600


def ship_rows(slots: Slots, *, detail: bool) -> list[Row]:
    """Give the rows of a ship's answer."""
    more = ("covered_seconds", "estimated_seconds", "provisional") if detail else ()
    return _rows(table_of(slots), ("value", *more))


def fleet_rows(slots: FleetSlots, *, detail: bool) -> list[Row]:
    """Give the rows of a fleet's answer."""
    more = ("covered_seconds", "estimated_seconds", "provisional", "ships", "whole_ships") if detail else ()
    return _rows(table_of(slots), ("sum", "avg", *more))


def _rows(table: Table, names: tuple[str, ...]) -> list[Row]:
    written = b"".join(FORMATS[0].write([table], Heading({}, names, "UTC")))
    found: list[Row] = json.loads(written)["data"]
    return found


def slots(*kwh: float) -> Slots:
    """Build consecutive slots of one ship, whole but for the last, which is provisional and covers 5 minutes."""
    n = len(kwh)
    return Slots(
        np.full(n, 7, np.int64),
        START_S + 900 * np.arange(n, dtype=np.int64),
        np.array(kwh, np.float64),
        np.array([900.0] * (n - 1) + [300.0]),
        np.array([False] * (n - 1) + [True]),
        np.array([0.0] * (n - 1) + [300.0]),
    )


def fleet(*rows: tuple[float, float, bool, int, int]) -> FleetSlots:
    """Build consecutive slots from rows of (kwh, covered_s, provisional, ships, whole)."""
    kwh, covered_s, provisional, ships, whole = zip(*rows, strict=True)
    return FleetSlots(
        START_S + 900 * np.arange(len(rows), dtype=np.int64),
        np.array(kwh, np.float64),
        np.array(covered_s, np.float64),
        np.array(provisional, np.bool_),
        np.where(provisional, covered_s, 0.0),
        np.array(ships, np.int64),
        np.array(whole, np.int64),
    )


def test_a_ships_rows_are_start_and_value() -> None:
    """In the order of the slots."""
    assert ship_rows(slots(3, 0.5), detail=False) == [
        {"datetime": "2018-08-24T00:00:00Z", "value": 3},
        {"datetime": "2018-08-24T00:15:00Z", "value": 0.5},
    ]


def test_detail_adds_cover_and_whether_it_is_provisional() -> None:
    """To every slot."""
    assert ship_rows(slots(3, 0.5), detail=True) == [
        {
            "datetime": f"2018-08-24T00:{minute}:00Z",
            "value": value,
            "covered_seconds": covered_s,
            "estimated_seconds": estimated_s,
            "provisional": provisional,
        }
        for minute, value, covered_s, estimated_s, provisional in (
            ("00", 3, 900, 0, False),
            ("15", 0.5, 300, 300, True),
        )
    ]


@pytest.mark.parametrize("detail", [True, False])
def test_no_slots_are_no_rows(detail: bool) -> None:  # noqa: FBT001  # hardly otherwise
    """An empty list, not an error."""
    assert ship_rows(Slots.from_rows([]), detail=detail) == []
    assert top_rows([], None, detail=detail) == []


def test_a_fleets_rows_are_sum_and_average_over_the_ships_that_have_the_slot() -> None:
    """The average is over those, not over all ships that there are."""
    assert fleet_rows(fleet((9, 2700, False, 3, 3), (1, 300, True, 3, 0)), detail=False) == [
        {"datetime": "2018-08-24T00:00:00Z", "sum": 9, "avg": 3},
        {"datetime": "2018-08-24T00:15:00Z", "sum": 1, "avg": 0.333333},
    ]


def test_detail_adds_to_a_fleet_slot_how_well_it_is_known() -> None:
    """Cover, whether it is provisional, its ships, and how many of them are whole."""
    assert fleet_rows(fleet((9, 1900.5, True, 3, 2)), detail=True) == [
        {
            "datetime": "2018-08-24T00:00:00Z",
            "sum": 9,
            "avg": 3,
            "covered_seconds": 1900.5,
            "estimated_seconds": 1900.5,
            "provisional": True,
            "ships": 3,
            "whole_ships": 2,
        }
    ]


def test_a_top_users_detail_is_its_cover_as_a_share_of_the_window() -> None:
    """1 is all of it."""
    ships = [ShipEnergy(1, 12.0, 3600.0), ShipEnergy(2, 0.25, 1200.0)]
    window = Window(START_S, START_S + HOUR_S)
    assert top_rows(ships, window, detail=False) == [
        {"spaceship_id": 1, "consumption": 12},
        {"spaceship_id": 2, "consumption": 0.25},
    ]
    assert [row["covered_share"] for row in top_rows(ships, window, detail=True)] == [1, 0.333333]


@pytest.mark.parametrize("window", [None, Window(START_S, None), Window(START_S, START_S)])
def test_a_share_of_no_window_is_no_error(window: Window | None) -> None:
    """Nothing is divided by zero."""
    rows = top_rows([ShipEnergy(1, 12.0, 900.0)], window, detail=True)
    assert rows[0]["spaceship_id"] == 1


@pytest.mark.parametrize(
    ("start_s", "written"),
    [(0, "1970-01-01T00:00:00Z"), (START_S, "2018-08-24T00:00:00Z"), (7_258_117_500, "2199-12-31T23:45:00Z")],
)
def test_a_slot_is_named_by_its_start_in_utc(start_s: int, written: str) -> None:
    """With a Z."""
    assert timestamp(start_s) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (3.0, "3"),
        (0.0, "0"),
        (-0.0, "0"),
        (-1e-9, "0"),
        (2.9999999, "3"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.333333"),
        (2 / 3, "0.666667"),
        (-1 / 3, "-0.333333"),
        (-3.0, "-3"),
        (1e12, "1000000000000"),
        (1e15, "1000000000000000"),
        (1e18, "1000000000000000000"),
        (123_456_789.123456, "123456789.123456"),
        (1e12 + 0.5, "1000000000000.5"),
    ],
)
def test_whole_numbers_have_no_fraction_and_others_at_most_six_decimals(value: float, written: str) -> None:
    """One by one, and in columns of whole and of mixed numbers."""
    assert json.dumps(number(value)) == written
    assert [json.dumps(row["value"]) for row in ship_rows(slots(value, value), detail=False)] == [written] * 2
    assert json.dumps(ship_rows(slots(value, 0.5), detail=False)[0]["value"]) == written


@given(st.lists(st.floats(-1e16, 1e16), min_size=1, max_size=8))
def test_every_number_is_written_close_and_short(values: list[float]) -> None:
    """Within half of the last decimal, and never with more than six of them."""
    in_rows = [row["value"] for row in ship_rows(slots(*values), detail=False)]
    for value, written in [*zip(values, in_rows, strict=True), *((value, number(value)) for value in values)]:
        exponent = Decimal(repr(written)).as_tuple().exponent
        assert isinstance(exponent, int)
        assert exponent >= -6
        assert abs(Decimal(repr(written)) - Decimal(value)) <= Decimal("0.5000001e-6") + abs(Decimal(value)) / 2**52
        assert isinstance(written, int) == (written == int(written))


def test_numbers_beyond_64_bits_are_written_whole() -> None:
    """Absurd, but ships may send what adds up to them."""
    assert json.dumps(number(1e20)) == "1" + 20 * "0"
    assert [row["value"] for row in ship_rows(slots(1e20, -1e20), detail=False)] == [
        10**20,
        -(10**20),
    ]
