"""Decimal marks and thousands: what is certain is read, what is not is asked for."""

import math

import pytest

from power_cli.importing.numbers import decimal_mark, read_numbers
from power_cli.importing.wanted import Wanted
from shared.domain.errors import InvalidInput


@pytest.mark.parametrize(
    ("texts", "separator", "mark"),
    [
        (["1", "2"], ",", "."),
        (["1.5"], ";", "."),
        (["1,5", "2"], ";", ","),
        (["0,326", "1,234"], ";", ","),
        (["0.326", "1.234", "5"], ";", "."),
        (["1.234,56"], ";", ","),
        (["1,234.56"], ";", "."),
        (["4382.825"], ";", "."),
        (["4382,825"], ";", ","),
        ([",5"], ";", ","),
        (["1.234", "2.345"], ";", "."),
        (["1.234", "7"], ",", "."),
        (["1,2345"], "\t", ","),
        (["1,5", "2,5", "3.5"], ";", ","),
        (["", "unavailable", "x"], ";", "."),
    ],
)
def test_the_decimal_mark_is_told_by_the_values(texts: list[str], separator: str, mark: str) -> None:
    assert decimal_mark(texts, separator, Wanted()) == mark


@pytest.mark.parametrize("texts", [["1,234"], ["1,234", "12,500"], ["1,234", "7"], ["1.234", "7"]])
def test_what_could_be_a_thousand_is_asked_for(texts: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"is the value '1.234' more than a thousand\? Say so with --decimal"):
        decimal_mark(texts, ";", Wanted())
    assert decimal_mark(texts, ";", Wanted(decimal="comma")) == ","
    assert decimal_mark(texts, ";", Wanted(decimal="point")) == "."


@pytest.mark.parametrize(
    ("text", "mark", "value"),
    [
        ("1,5", ",", 1.5),
        ("1.234,5", ",", 1234.5),
        ("1.234", ",", 1234),
        ("1.234.567", ",", 1234567),
        ("1,234.5", ".", 1234.5),
        ("1,234,567", ".", 1234567),
        ("1 234,5", ",", 1234.5),
        ("1\u202f234,5", ",", 1234.5),
        ("1'234.5", ".", 1234.5),
        ("-0,5", ",", -0.5),
        ("1e-3", ".", 0.001),
        ("1,5E2", ",", 150),
        ("N/A", ".", math.nan),
    ],
)
def test_numbers_are_read(text: str, mark: str, value: float) -> None:
    found = read_numbers([text], mark)
    assert found.value[0] == pytest.approx(value, nan_ok=True, rel=0, abs=0)
    assert not found.is_bad[0]


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("0.5", ","),
        ("1,5", "."),
        ("1.23.456", ","),
        ("12,34,567", "."),
        ("1,5,5", ","),
        ("0.500", ","),
        ("1 2", "."),
        ("5 kW", "."),
    ],
)
def test_numbers_that_do_not_fit_the_decimal_mark_are_bad(text: str, mark: str) -> None:
    assert read_numbers([text], mark).is_bad[0]
