"""What the texts of timestamps mean: ISO 8601, numbers since 1970, or dates as people write them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from power_cli.importing.wanted import MAX_CELL, Wanted, shown
from shared.domain.columns import I64, Bools
from shared.domain.errors import InvalidInput
from shared.domain.timestamps import NOT_A_MOMENT, epoch_us, moment_us, moments_us

DAY_US = 86_400_000_000
DATES = (
    *("%d.%m.%Y", "%d.%m.%y", "%Y.%m.%d", "%Y/%m/%d", "%Y-%m-%d", "%Y%m%d", "%d %b %Y", "%d-%b-%Y", "%d %B %Y"),
    *("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y"),
)
CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%H%M", "%H%M%S")
SAMPLE = 1000
FEW = 20
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?"
STAMP = re.compile(
    rf"(?:\d{{4}}-W\d\d-\d|\d{{1,4}}([-./])(?:\d\d?|[A-Za-z]{{3}})\1\d{{2,4}}|\d{{8}}|\d\d? [A-Za-z]{{3,9}} \d{{4}})"
    rf"(?:[Tt]|, ?| +)(?:{_CLOCK}|\d{{4}}(?:\d\d)?)(?:\.\d+)? ?(?:[Zz]{{1,2}}|UTC|GMT|[+-]\d\d(?::?\d\d)?)?"
    r"|20\d{10}(?:\d\d)?",
    re.ASCII,
)
DATE = re.compile(r"\d{1,4}([-./])\d{1,2}\1(?:\d{2}|\d{4})|\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{4}", re.ASCII)
NUMBER = re.compile(r"(?!20\d{10}$|20\d{12}$)\d{9,14}(?:\.\d+)?", re.ASCII)
"""Seconds or milliseconds since 1970; 12 and 14 digits from 20 on are a date and a time."""
CLOCK = re.compile(_CLOCK, re.ASCII)
_OFFSET = re.compile(r"[T ]\d[\d:.,]*(?:Z{1,2}|[+-]\d\d(?::?\d\d)?)", re.ASCII | re.IGNORECASE)
_BLANK_OFFSET = re.compile(r"\s+(?:(?:UTC|GMT)$|(?=[+-]\d\d(?::?\d\d)?$))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Style:
    """How a file writes timestamps.

    Attributes:
        date: strptime's format of the date; None for ISO 8601 and for numbers.
        is_number: seconds or milliseconds since 1970.
        is_day: dates alone, each of which means the whole day.

    """

    date: str | None = None
    is_number: bool = False
    is_day: bool = False

    def __str__(self) -> str:
        if self.is_number:
            return "seconds or milliseconds since 1970"
        return "ISO 8601" if self.date is None else f"dates as {_example(self.date)}"


@dataclass(frozen=True, slots=True, eq=False)
class Stamps:
    """n timestamps.

    Attributes:
        us: microseconds since 1970, in local time where `is_local`, int64[n].
        is_local: has no offset, bool[n].
        is_good: could be read, bool[n].

    """

    us: I64
    is_local: Bools
    is_good: Bools


def _example(date: str) -> str:
    names = {"%d": "day", "%m": "month", "%Y": "year", "%y": "year", "%b": "month", "%B": "month"}
    return re.sub("%[A-Za-z]", lambda found: names[found[0]], date)


def find_style(texts: Sequence[str], wanted: Wanted) -> Style:
    """Return how a file writes timestamps, from those at its beginning.

    Raises:
        InvalidInput: day and month cannot be told apart.

    """
    sample = [text for text in texts[:SAMPLE] if text]
    if sum(map(_is_iso, sample)) * 2 > len(sample):
        return Style()
    if sum(NUMBER.fullmatch(text) is not None for text in sample) * 2 > len(sample):
        return Style(is_number=True)
    is_day = bool(sample) and all(DATE.fullmatch(text) or re.fullmatch(r"20\d{6}", text) for text in sample)
    clocks = ("",) if is_day else CLOCKS
    likely = [date for date in DATES if _may_be(date, wanted) and _parsed(sample, date, clocks).is_good.any()]
    if not likely:
        return Style()  # none can be read: each is named as a bad row
    given = [text for text in texts if text]
    tried = {date: _parsed(given, date, clocks) for date in likely}
    counts = {date: int(np.count_nonzero(stamps.is_good)) for date, stamps in tried.items()}
    best = max(counts, key=lambda date: counts[date])
    for date, stamps in tried.items():
        if counts[date] == counts[best] and (stamps.us != tried[best].us).any():
            raise InvalidInput(f"is {shown(given[0])} day-first? Say so with --day-first, or --month-first")
    return Style(best, is_day=is_day)


def _may_be(date: str, wanted: Wanted) -> bool:
    """Return whether a format has the order that the user wants."""
    if wanted.day_first is None or date.startswith("%Y") or "." in date:
        return True
    return date.startswith("%d") is wanted.day_first


def read_stamps(texts: Sequence[str], style: Style) -> Stamps:
    """Convert the texts of timestamps, without blanks around them."""
    if style.date is not None:
        return _parsed(texts, style.date, ("",) if style.is_day else CLOCKS)
    try:
        us = moments_us(texts)
        if all(text.endswith("Z") for text in texts):
            return Stamps(us, np.zeros(len(us), np.bool_), np.ones(len(us), np.bool_))
    except ValueError:
        pass
    read = _number if style.is_number else _iso
    found = [read(text) for text in texts]
    return Stamps(
        np.fromiter((us for us, _ in found), np.int64, len(found)),
        np.fromiter((is_local for _, is_local in found), np.bool_, len(found)),
        np.fromiter((us >= 0 for us, _ in found), np.bool_, len(found)),
    )


def fault(text: str, style: Style) -> str:
    """Return why a timestamp could not be read."""
    if not text:
        return "datetime is missing"
    why = NOT_A_MOMENT
    if style.date is not None or style.is_number:
        why = f"is not like the others, {style}"
    elif len(text) <= MAX_CELL:
        try:
            moment_us(_usual(text))
        except ValueError as error:
            why = str(error)
    return f"datetime {why}: {shown(text)}"


def _usual(text: str) -> str:
    """Return ISO 8601 as the contract has it: without a blank before the offset."""
    return _BLANK_OFFSET.sub(lambda found: "Z" if found[0].strip() else "", text)


def _iso(text: str) -> tuple[int, bool]:
    """Return a timestamp, -1 if it is none, and whether it has no offset."""
    if len(text) > MAX_CELL:
        return -1, False
    usual = _usual(text)
    try:
        return moment_us(usual), _OFFSET.search(usual, 8) is None
    except ValueError:
        return -1, False


def _is_iso(text: str) -> bool:
    return _iso(text)[0] >= 0


def _number(text: str) -> tuple[int, bool]:
    try:
        if NUMBER.fullmatch(text):
            return epoch_us(float(text) if "." in text else int(text)), False
    except ValueError:
        pass
    return -1, False


def _parsed(texts: Sequence[str], date: str, clocks: Sequence[str]) -> Stamps:
    """Read dates of one format, each with a time of day in one of several formats."""
    import pandas as pd  # noqa: PLC0415  # loaded where it is needed

    texts = [text if len(text) <= MAX_CELL else "" for text in texts]
    plain = pd.Series(texts, dtype="str").str.upper().str.replace(r"(?<=\d)(?:T|, ?| +)(?=\d+:)", " ", regex=True)
    plain = plain.str.replace(r"(:\d\d),(\d+)$", r"\1.\2", regex=True).str.replace(
        r"(\d)([AP]M)$", r"\1 \2", regex=True
    )
    is_midnight = plain.str.contains(r" 24:00(?::00)?$", regex=True)
    plain = plain.mask(is_midnight, plain.str.replace(" 24:00", " 00:00", regex=False))
    us, is_good = np.zeros(len(plain), np.int64), np.zeros(len(plain), np.bool_)
    compact = ("%H%M", "%H%M%S")
    forms = [f"{date}{'' if clock in compact and date == '%Y%m%d' else ' '}{clock}".strip() for clock in clocks]
    few = plain.iloc[:FEW]
    forms.sort(key=lambda form: -pd.to_datetime(few, format=form, errors="coerce").count())  # the usual one first
    for form in forms:
        rest = np.flatnonzero(~is_good)
        if not len(rest):
            break
        found = pd.to_datetime(plain.iloc[rest], format=form, errors="coerce")
        known = found.notna().to_numpy()
        us[rest[known]] = found[known].to_numpy("datetime64[us]").astype(np.int64)
        is_good[rest[known]] = True
    us += is_midnight.to_numpy(np.bool_) * DAY_US
    is_good &= us >= 0
    return Stamps(np.where(is_good, us, 0), np.ones(len(us), np.bool_), is_good)
