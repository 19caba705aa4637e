"""Who else writes to one InfluxDB: there are no transactions that would keep others out, so workers show themselves."""

import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from shared.errors import Unavailable
from shared.store.influx_server import TIMEOUT_S, Server

SHOWN_S = 60
"""For so long after its last sign of life a worker may still be writing."""
HELD_S = SHOWN_S - TIMEOUT_S
"""So long after its sign a worker may begin to write: what it sends then arrives while the sign is seen, or never."""
WATCHED_S = SHOWN_S * 2 / 3
"""Looks that lie no further apart show everybody who came between them, and signs show us to everybody who did."""
_REFRESH_S = SHOWN_S / 4


class _Others(NamedTuple):
    here: frozenset[str]
    gone: frozenset[str]


class Presence:
    """One worker among others. The clock that counts is the server's; ours only measures how long ago we did things."""

    def __init__(self, server: Server, now_s: Callable[[], float] = time.monotonic) -> None:
        """Take a new identity; nobody sees it before `show`."""
        self._server = server
        self._now_s = now_s
        self._name = secrets.token_hex(8)
        self._shown_s: float | None = None
        self._looked_s: float | None = None
        self._gone: frozenset[str] = frozenset()
        self._unsure_until_s = 0.0

    def show(self) -> None:
        """Let others see us; to be called before anything is read that what is written will depend on."""
        now_s = self._now_s()
        if self._shown_s is None or now_s - self._shown_s > _REFRESH_S:
            self._say(here=True)
            self._shown_s = now_s

    def hold(self) -> None:
        """Stay in sight, before each request of a transaction.

        Raises:
            Unavailable: we were halted for so long that others may have thought us gone; what was read is too old to
                write anything that depends on it.

        """
        if self._shown_s is not None:
            ago_s = self._now_s() - self._shown_s
            if ago_s > HELD_S:
                raise Unavailable(f"the transaction has stood still for {ago_s:.0f} s, and begins anew")
            self.show()

    def leave(self) -> None:
        """Say that we write no more, if that is certain."""
        if self._shown_s is not None and self._is_sure():
            self._say(here=False)
            self._shown_s = None

    def unsure(self) -> None:
        """Note that a request of ours may still be under way, though nobody waits for its answer any more."""
        self._unsure_until_s = self._now_s() + SHOWN_S

    def _is_sure(self) -> bool:
        return self._now_s() >= self._unsure_until_s

    def has_watched(self) -> bool:
        """Tell whether `alone` can still answer for all the time since its last answer."""
        return self._is_recent(self._shown_s) and self._is_recent(self._looked_s)

    def _is_recent(self, when_s: float | None) -> bool:
        return when_s is not None and self._now_s() - when_s <= WATCHED_S

    def watch(self) -> bool:
        """Begin to watch; tell whether nobody else, not even an earlier request of ours, can be writing."""
        began_s = self._now_s()
        others = self._others()
        self._looked_s, self._gone = began_s, others.gone
        return self._is_sure() and not others.here

    def alone(self) -> bool:
        """Tell whether nobody else can be writing, or can have been since the last look."""
        before_s, gone = self._looked_s, self._gone
        alone = self.watch()
        return alone and self._is_recent(before_s) and self._gone <= gone

    def last_look_s(self) -> float:
        """Tell how long ago the last look was."""
        return float("inf") if self._looked_s is None else self._now_s() - self._looked_s

    def _others(self) -> _Others:
        last: dict[str, str] = {}
        seen = self._server.query([f"SELECT worker, here FROM workers WHERE time > now() - {SHOWN_S}s"], {})
        for table in seen:
            last.update(zip(table["worker"], table["here"], strict=True))
        last.pop(self._name, None)
        here = frozenset(name for name, here in last.items() if here == "true")
        return _Others(here, frozenset(last) - here)

    def _say(self, *, here: bool) -> None:
        self._server.write([f'workers worker="{self._name}",here={str(here).lower()}'])  # at the server's time
