"""Finds members that look like misspelt ones: ignoring them would change what the values mean."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache

from shared.domain.errors import MAX_PROBLEMS, Problem

NAMES = (
    "spaceship_id",
    "units",
    "data",
    "batch_id",
    "sent_at",
    "stamp",
    "between",
    "counter",
    "rollover",
    "duration_s",
    "max_gap_s",
    "datetime",
    "value",
)
_OF_NO_VALUE = ("spaceship_id", "data", "batch_id")
"""Inside a reading these are ignored like other members: they do not say what its value means."""
LONGEST = 2 * max(map(len, NAMES))
"""A longer name is not compared."""
CLOSE = 0.9


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower())).rstrip("s")


_FOLDED = {_folded(name): name for name in NAMES}
_BY_LENGTH = {
    size: [(frozenset(ours), ours) for ours in _FOLDED if 2 * min(size, len(ours)) >= CLOSE * (size + len(ours))]
    for size in range(LONGEST + 1)
}
"""By the length of a name: those of ours that it may be close to, and their letters."""
_MISSED = 2
"""How many letters of the longest of our names a close one may lack."""


@lru_cache(4096)
def _meant(name: str) -> str | None:
    """Return the one of our names that a name looks like. Most look like none, which is quickly seen."""
    folded = _folded(name)
    alike = [ours for letters, ours in _BY_LENGTH.get(len(folded), ()) if len(letters.difference(folded)) <= _MISSED]
    close = get_close_matches(folded, alike, 1, CLOSE) if alike else []
    return _FOLDED[close[0]] if close else None


def misspelt(members: Mapping[str, object], known: Collection[str], inside: str = "") -> Iterator[Problem]:
    """Find the members that look like one of ours, and are none that is known in this place."""
    for count, name in enumerate(name for name in members if name not in known and len(name) <= LONGEST):
        if count == MAX_PROBLEMS:
            return
        meant = _meant(name)
        if meant is None:
            continue
        why = f"is not known: did you mean `{meant}`?" if meant in known else "belongs to the batch, not to a reading"
        if meant in known or (inside and meant not in _OF_NO_VALUE):
            yield Problem(f"{inside}{name}", why)
