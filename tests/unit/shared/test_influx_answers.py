"""What is read of InfluxDB's answers while somebody writes."""

from shared.store.influx.server import Table, complete


def test_a_point_that_lacks_a_field_is_not_there_yet() -> None:
    table: Table = {"tags": ("ship=1", "ship=1", "ship=2"), "time": ("1", "2", "1"), "kwh": ("5", "", "6")}
    assert complete(table) == {"tags": ("ship=1", "ship=2"), "time": ("1", "1"), "kwh": ("5", "6")}


def test_where_nothing_is_complete_nothing_is_there() -> None:
    assert complete({"time": ("1",), "kwh": ("",)}) == {"time": (), "kwh": ()}


def test_a_table_that_is_complete_stays_as_it_is() -> None:
    table: Table = {"time": ("1",), "kwh": ("0",)}
    assert complete(table) is table
