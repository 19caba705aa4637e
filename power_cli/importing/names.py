"""Names of columns, as exports have them."""

import re

from power_cli.importing.wanted import MAX_CELL

_BRACKETS = re.compile(r"[\[(][^\])]*[\])]")
_NO_WORD = re.compile(r"[\W_]+")


def _names(text: str) -> frozenset[str]:
    return frozenset(each.strip() for each in text.split(","))


WHEN = _names(
    "datetime, date time, date, timestamp, time stamp, time, ts, moment, day, when, utc, local time, utc time,"
    "time utc, timestamp utc, last changed, last updated, settlement date, measured at, horodate, fecha,"
    "zeit, zeitpunkt, zeitstempel, datum, tag, datum uhrzeit, datum zeit"
)
CLOCKS = _names("time, time of day, hour, clock, uhrzeit, zeit, heure, hora, uhrzeit von, zeit von")
CLOCK_ENDS = _names("uhrzeit bis, zeit bis")
STARTS = _names(
    "from, start, begin, beginning, start time, start date, date from, time from, valid from, interval start,"
    "interval beginning, period start, period beginning, hour beginning, von, beginn, ab, de"
)
ENDS = _names(
    "to, until, end, end time, end date, date to, time to, valid to, interval end, interval ending, period end,"
    "period ending, hour ending, bis, ende, fin"
)


def words(name: str) -> str:
    """Return a name in small letters without brackets and signs: ``last_changed (UTC)`` is ``last changed``."""
    return _NO_WORD.sub(" ", _BRACKETS.sub(" ", name[:MAX_CELL]).casefold()).strip()


def is_when(name: str) -> bool:
    """Return whether a column of that name has timestamps."""
    plain = words(name)
    return plain in WHEN or plain in STARTS or plain in ENDS


def same(name: str, wanted: str) -> bool:
    """Return whether the user means a column by its name."""
    return name.strip().casefold() == wanted.strip().casefold()
