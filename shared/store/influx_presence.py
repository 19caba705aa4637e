"""Who else writes to one InfluxDB: there are no transactions that would keep others out, so workers show themselves."""

import secrets
import time
from collections.abc import Callable

from shared.store.influx_server import Server

SHOWN_S = 60
"""For so long after its last sign of life a worker may still be writing."""
_REFRESH_S = SHOWN_S / 3


class Presence:
    """One worker among others. The clock that counts is the server's; ours only measures how long ago we did things."""

    def __init__(self, server: Server, now_s: Callable[[], float] = time.monotonic) -> None:
        """Take a new identity; nobody sees it before `show`."""
        self._server = server
        self._now_s = now_s
        self._name = secrets.token_hex(8)
        self._shown_s: float | None = None
        self._unsure_until_s = 0.0

    def show(self) -> None:
        """Let others see us; to be called before anything is read that what is written will depend on."""
        now_s = self._now_s()
        if self._shown_s is None or now_s - self._shown_s > _REFRESH_S:
            self._say(here=True)
            self._shown_s = now_s

    def leave(self) -> None:
        """Say that we write no more."""
        if self._shown_s is not None:
            self._say(here=False)
            self._shown_s = None

    def unsure(self) -> None:
        """Note that a request of ours may still be under way, though nobody waits for its answer any more."""
        self._unsure_until_s = self._now_s() + SHOWN_S

    def alone(self) -> bool:
        """Tell whether nobody else, not even an earlier request of ours, can be writing or have begun to."""
        return self._now_s() >= self._unsure_until_s and not self._others()

    def _others(self) -> set[str]:
        last: dict[str, str] = {}
        seen = self._server.query([f"SELECT worker, here FROM workers WHERE time > now() - {SHOWN_S}s"], {})
        for table in seen:
            last.update(zip(table["worker"], table["here"], strict=True))
        return {name for name, here in last.items() if here == "true" and name != self._name}

    def _say(self, *, here: bool) -> None:
        self._server.write([f'workers worker="{self._name}",here={str(here).lower()}'])  # at the server's time
