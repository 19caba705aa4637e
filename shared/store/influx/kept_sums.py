"""What every ship used in a window, in InfluxDB: its sums of weeks and days are kept until a slot in them changes.

InfluxDB takes some 25 ms to sum up a week of 1,000 ships, because it opens each of them. The fleet's slots are one
series: their marks tell in a few milliseconds in which days a slot has changed since.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from shared.domain.columns import F64, I64
from shared.domain.slots import Window
from shared.store.influx.roll_ups import DAY_S, SHIP_DAYS, ships_in
from shared.store.influx.server import NS_PER_S, Server
from shared.store.influx.windows import Energy, bounds_s, days_of, energies

WEEK_S = 7 * DAY_S
MONDAY_S = 4 * DAY_S
"""A Monday: InfluxDB's files are of weeks that begin on Mondays."""
FEW_SHIPS = 30
"""Fewer ships are summed up in less time than the marks take."""
MOST_ROWS = 500_000
"""How many sums are kept, each of 24 bytes: those of 1,000 ships in ten years."""

Span = tuple[int, int]
"""The start and the end of a week or a day, in seconds."""
Token = tuple[tuple[int, str], ...]
"""Changes whenever a slot of a span does."""


class _Sums(NamedTuple):
    """What each of n ships used: columns, and what the token of the span was before they were read."""

    ship: I64
    kwh: F64
    covered_s: F64
    token: Token | None = None


class KeptSums:
    """The sums of one query service; safe to use from several threads."""

    def __init__(self, server: Server) -> None:
        """Begin without any."""
        self._server = server
        self._lock = threading.Lock()
        self._kept: OrderedDict[Span, _Sums] = OrderedDict()
        """The last ones were used last."""

    def energies(self, windows: Sequence[Window]) -> list[Energy]:
        """Sum up what every ship used in each of some windows."""
        if len(ships_in(self._server, SHIP_DAYS.name, FEW_SHIPS)) < FEW_SHIPS:
            return energies(self._server, windows)
        spans_of = [dict(self._spans(window)) for window in windows]
        tokens = {span: token for spans in spans_of for span, token in spans.items()}
        sums = self._still_right(tokens)
        missing = [span for span in tokens if span not in sums]
        read = energies(self._server, [Window(*span) for span in missing])
        made = {span: _columns(each, tokens[span]) for span, each in zip(missing, read, strict=True)}
        self._keep(made)
        sums |= made
        return [_added([sums[span] for span in spans]) for spans in spans_of]

    def _spans(self, window: Window) -> Iterator[tuple[Span, Token | None]]:
        """Cut a window into weeks and days, with their tokens, and into what else is in it."""
        (start_s, end_s), (first_s, last_s) = bounds_s(window), days_of(window)
        if first_s >= last_s:
            yield (start_s, end_s), None
            return
        yield from ((edge, None) for edge in ((start_s, first_s), (last_s, end_s)) if edge[0] < edge[1])
        yield from _weeks(self._tokens(first_s, last_s), first_s, last_s)

    def _tokens(self, first_s: int, last_s: int) -> dict[int, str | None]:
        """Return the token of each day that the fleet has slots in; None while some of them are being written.

        A slot's two marks are equal once it is written, whichever of them is read first. They are random: so are sums.
        """
        statement = (
            "SELECT sum(mark) AS mark, sum(clean) AS clean FROM fleet WHERE time >= $first AND time < $last"
            " GROUP BY time(1d) fill(none)"
        )
        tokens: dict[int, str | None] = {}
        for table in self._server.query([statement], {"first": first_s * NS_PER_S, "last": last_s * NS_PER_S}):
            days_s = [int(time_ns) // NS_PER_S for time_ns in table["time"]]
            sums_ = zip(table["mark"], table["clean"], strict=True)
            tokens |= {
                day_s: mark if mark == clean else None for day_s, (mark, clean) in zip(days_s, sums_, strict=True)
            }
        return tokens

    def _still_right(self, tokens: Mapping[Span, Token | None]) -> dict[Span, _Sums]:
        with self._lock:
            found = {span: kept for span, token in tokens.items() if token and (kept := self._kept.get(span))}
            right = {span: kept for span, kept in found.items() if kept.token == tokens[span]}
            for span in right:
                self._kept.move_to_end(span)
        return right

    def _keep(self, sums: Mapping[Span, _Sums]) -> None:
        with self._lock:
            self._kept |= {span: each for span, each in sums.items() if each.token}
            rows = sum(len(each.ship) for each in self._kept.values())
            while rows > MOST_ROWS:
                rows -= len(self._kept.popitem(last=False)[1].ship)


def _weeks(tokens: Mapping[int, str | None], first_s: int, last_s: int) -> Iterator[tuple[Span, Token | None]]:
    """Put days that have slots together to whole weeks that are over; other days stay alone. Each with its token."""
    now_s, weeks = time.time(), dict[int, list[int]]()
    for day_s in sorted(tokens):
        weeks.setdefault((day_s - MONDAY_S) // WEEK_S * WEEK_S + MONDAY_S, []).append(day_s)
    for week_s, days_s in weeks.items():
        if first_s <= week_s and week_s + WEEK_S <= min(last_s, now_s):
            yield (week_s, week_s + WEEK_S), _token(tokens, days_s)
        else:
            yield from (((day_s, day_s + DAY_S), _token(tokens, [day_s])) for day_s in days_s)


def _token(tokens: Mapping[int, str | None], days_s: list[int]) -> Token | None:
    found = [(day_s, token) for day_s in days_s if (token := tokens[day_s]) is not None]
    return tuple(found) if len(found) == len(days_s) else None


def _columns(energy: Energy, token: Token | None = None) -> _Sums:
    values = np.array(list(energy.values()), np.float64).reshape(-1, 2)
    return _Sums(np.array(list(energy), np.int64), values[:, 0].copy(), values[:, 1].copy(), token)


def _added(sums: Sequence[_Sums]) -> Energy:
    if not sums:
        return {}
    ships, which = np.unique(np.concatenate([each.ship for each in sums]), return_inverse=True)
    kwh, covered_s = (
        np.bincount(which, np.concatenate(columns), len(ships)).tolist()
        for columns in ([each.kwh for each in sums], [each.covered_s for each in sums])
    )
    return dict(zip(ships.tolist(), zip(kwh, covered_s, strict=True), strict=True))
