"""Moments in time: ISO 8601 text to and from microseconds since 1970-01-01T00:00:00Z."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ONE_US = timedelta(microseconds=1)
US_PER_S = 1_000_000
LAST_US = (datetime(2200, 1, 1, tzinfo=UTC) - EPOCH) // ONE_US - 1
"""The last moment taken: the end of 2199."""

NOT_A_MOMENT = "is not an ISO 8601 moment such as 2019-01-05T04:37:00Z"


def moment_us(text: str) -> int:
    """Give the microseconds since 1970 of an ISO 8601 moment.

    An offset is converted to UTC and none means UTC; fractions are cut to the microsecond; a doubled ``Z`` is taken,
    because the service's published sample has one.

    Raises:
        ValueError: the text is no ISO 8601 moment, or one outside 1970-01-01 to 2199-12-31; the message says which.

    """
    if "T" not in text and " " not in text and "t" not in text:  # `fromisoformat` takes any separator, and mere dates
        raise ValueError(NOT_A_MOMENT)
    try:
        moment = datetime.fromisoformat(text[:-1] if text.endswith("ZZ") else text)
    except ValueError:
        raise ValueError(NOT_A_MOMENT) from None
    us = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // ONE_US
    if not 0 <= us <= LAST_US:
        message = "is outside 1970-01-01 to 2199-12-31"
        raise ValueError(message)
    return us


def iso(us: int) -> str:
    """Write a moment as ISO 8601 in UTC, without a fraction where it has none."""
    moment = EPOCH + us * ONE_US
    return moment.replace(tzinfo=None).isoformat() + "Z"
