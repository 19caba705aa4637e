"""Timestamps: ISO 8601 text to and from microseconds since 1970-01-01T00:00:00Z."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ONE_US = timedelta(microseconds=1)
US_PER_S = 1_000_000
LAST_US = (datetime(2200, 1, 1, tzinfo=UTC) - EPOCH) // ONE_US - 1
"""The last timestamp that is accepted: the end of 2199."""
FIRST_MS = 10**11
"""A number from here on is in milliseconds."""
OUTSIDE = "is outside 1970-01-01 to 2199-12-31"
NOT_A_MOMENT = "is not an ISO 8601 moment such as 2019-01-05T04:37:00Z"

# `fromisoformat` knows the calendar, but also accepts dates alone, any separator, and some text before the zone.
_SHAPE = re.compile(
    r"""(?: \d{4}-\d\d-\d\d | \d{8} | \d{4}-W\d\d-\d | \d{4}W\d{3} )
        [Tt\ ]
        (?P<time> \d\d (?: :\d\d (?: :\d\d (?: [.,]\d+ )? )? )? | \d{4} (?: \d\d (?: [.,]\d+ )? )? )
        (?: [Zz]{1,2} | [+-]\d\d (?: :?[0-5]\d )? )?""",
    re.ASCII | re.VERBOSE,
).fullmatch

_USUAL = np.frombuffer(b"0000-00-00T00:00:00Z", np.uint8)
USUAL_LENGTH = len(_USUAL)
_DIGITS = ord("0") == _USUAL
FEW = 16
"""Up to this many a loop is faster than numpy."""


def moments_us(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return what `moment_us` returns for each of many texts, int64[n]; fast if all are like 2019-01-05T04:37:00Z.

    Raises:
        ValueError: `moment_us` raises it for one of them.

    """
    if len(texts) > FEW and set(map(len, texts)) == {len(_USUAL)} and "".join(texts).isascii():
        packed = np.array(texts, f"S{len(_USUAL)}")
        letters = packed.view(np.uint8).reshape(len(texts), -1)
        digits = letters[:, _DIGITS] - ord("0")  # uint8: characters below "0" wrap around to more than 9
        if (letters[:, ~_DIGITS] == _USUAL[~_DIGITS]).all() and (digits <= 9).all():  # noqa: PLR2004
            found = packed.astype(f"S{len(_USUAL) - 1}").astype("datetime64[us]").astype(np.int64)
            if ((found >= 0) & (found <= LAST_US)).all():
                return found
    return np.array([moment_us(text) for text in texts], np.int64)


def moment_us(text: str) -> int:
    """Return the microseconds since 1970 of an ISO 8601 timestamp.

    An offset is converted to UTC; without one the text is in UTC. Fractions are cut to the microsecond. A doubled ``Z``
    is accepted, because the service's published sample has one.

    Raises:
        ValueError: the text is no ISO 8601 timestamp, or outside 1970-01-01 to 2199-12-31; the message says which.

    """
    us = unbounded_us(text)
    if 0 <= us <= LAST_US:
        return us
    raise ValueError(OUTSIDE)


def unbounded_us(text: str) -> int:
    """Return what `moment_us` returns, and for years before 1970 and after 2199, too.

    Raises:
        ValueError: the text is no ISO 8601 timestamp.

    """
    # `fromisoformat` alone checks the digits of a text with the usual separators, and is quicker.
    if not ((len(text) == USUAL_LENGTH and text[4::3] == "--T::Z") or _SHAPE(text)):
        raise ValueError(NOT_A_MOMENT)
    later_us = 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment, later_us = _unusual(text)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // ONE_US + later_us


def _unusual(text: str) -> tuple[datetime, int]:
    """Return a moment that `fromisoformat` does not read as it is, and how much later it is."""
    shape = _SHAPE(text)
    if not shape:
        raise ValueError(NOT_A_MOMENT)
    text, later_us = _usual(text.upper(), *shape.span("time"))
    try:
        return datetime.fromisoformat(text[:-1] if text.endswith("ZZ") else text), later_us
    except ValueError:
        raise ValueError(NOT_A_MOMENT) from None


def epoch_us(number: float) -> int:
    """Return the microseconds since 1970 of a timestamp in seconds since 1970, or in milliseconds from 1e11 on.

    Raises:
        ValueError: it is not finite, or outside 1970-01-01 to 2199-12-31.

    """
    if not 0 <= number < LAST_US:
        raise ValueError(OUTSIDE)
    per_unit = US_PER_S if number < FIRST_MS else 1000
    us = number * per_unit if isinstance(number, int) else int(Decimal(repr(number)) * per_unit)
    if us <= LAST_US:
        return us
    raise ValueError(OUTSIDE)


def _usual(text: str, start: int, end: int) -> tuple[str, int]:
    """Turn 24:00:00 and a leap second, whose time is at these places, into a usual time and how much later it is."""
    digits = text[start:end].replace(":", "")
    if digits[:2] == "24" and not digits[2:].strip("0.,"):
        return f"{text[:start]}00{text[start + 2 :]}", 86_400 * US_PER_S
    if digits[4:6] == "60":
        at = text.index("60", start + 4)
        return f"{text[:at]}59{text[at + 2 :]}", US_PER_S
    return text, 0


def iso(us: int) -> str:
    """Return a timestamp as ISO 8601 in UTC, with a fraction only if it has one."""
    moment = EPOCH + us * ONE_US
    return moment.replace(tzinfo=None).isoformat() + "Z"
