"""Who else writes to one InfluxDB: there are no transactions that would keep others out, so workers show themselves."""

import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from shared.domain.errors import Unavailable
from shared.store.influx.server import TIMEOUT_S, Server

SHOWN_S = 60
"""For so long after its last sign of life a worker may still be writing."""
HELD_S = SHOWN_S - TIMEOUT_S
"""So long after its sign a worker may begin to write: what it sends then arrives while the sign is seen, or never."""
LEARNT_S = 240
"""So long after its last look a worker may begin to write: it depends on nothing that was so before that look."""
SETTLED_S = LEARNT_S + SHOWN_S
"""So long after something was stored nothing arrives any more that was prepared without it."""
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

    def begin(self) -> bool:
        """Let others see us; to be called before anything is read that what is written will depend on.

        Returns:
            Whether `alone` can still answer for all the time since its last answer.

        """
        shown_s = self._shown_s
        self.show()
        return self._is_recent(shown_s) and self._is_recent(self._looked_s)  # now, however long that took

    def show(self) -> None:
        """Let others see us, if our last sign is not of just now."""
        now_s = self._now_s()
        if self._shown_s is None or now_s - self._shown_s > _REFRESH_S:
            self._say(here=True)
            self._shown_s = now_s

    def hold(self) -> None:
        """Stay in sight, before each request of a transaction.

        Raises:
            Unavailable: we were halted for so long that others may have thought us gone, or take so long that they may
                have come back to what they stored; what was read is too old to write anything that depends on it.

        """
        self._check_age()
        self.show()
        self._check_age()  # we may have been halted with our sign under way

    def _check_age(self) -> None:
        shown_s, looked_s = self._ago_s(self._shown_s), self.last_look_s()
        if shown_s > HELD_S:
            raise Unavailable(f"the transaction has stood still for {shown_s:.0f} s, and begins anew")
        if looked_s > LEARNT_S:
            raise Unavailable(f"the transaction rests on what is {looked_s:.0f} s old, and begins anew")

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

    def _is_recent(self, when_s: float | None) -> bool:
        return self._ago_s(when_s) <= WATCHED_S

    def _ago_s(self, when_s: float | None) -> float:
        return float("inf") if when_s is None else self._now_s() - when_s

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
        return self._ago_s(self._looked_s)

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
