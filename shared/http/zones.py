"""The names of time zones, as people write them."""

from collections.abc import Mapping
from functools import cache
from zoneinfo import available_timezones


def zone_name(written: object) -> str | None:
    """Return the IANA name of a time zone, written in any case; None if there is no such zone.

    A blank is a `+` that was not escaped in a URL, as in `Etc/GMT+5`.
    """
    return _names().get(written.casefold().replace(" ", "+")) if isinstance(written, str) else None


@cache
def _names() -> Mapping[str, str]:
    """Return the names of all time zones by their lower case, without Debian's `localtime` and `Factory`."""
    return {name.casefold(): name for name in available_timezones() - {"localtime", "Factory"}}
