"""The one worker that writes to a bucket: a record in the bucket names it, and it renews the record while it works.

A request whose outcome is unknown may still arrive, and then undo what was written after it. So before the first write
after such a request, of this worker or of one that was killed, the time passes in which it can arrive. Whoever renews
the record meanwhile is at work. docs/decisions/010-influxdb.md says why this is enough.
"""

import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from shared.domain.errors import Unavailable
from shared.store.influx.roll_ups import PINNED_S
from shared.store.influx.server import NS_PER_S, Server

log = logging.getLogger(__name__)

SETTLE_S = 30.0
"""How long a request may still be under way once its sender has given it up, and InfluxDB answers others."""
RENEWALS = 3
"""How often the record is renewed in that time."""


class Record(NamedTuple):
    """Who writes to a bucket; `renewed` is another number each time."""

    worker: str
    renewed: str
    is_working: str


class Owner:
    """This worker's hold on a bucket."""

    def __init__(
        self,
        server: Server,
        *,
        settle_s: float = SETTLE_S,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare; `acquire` takes the bucket."""
        self._server = server
        self._settle_s = settle_s
        self._now_s = now_s
        self._sleep = sleep
        host = re.sub(r"[^\w.-]", "", socket.gethostname())
        self._name = f"{secrets.token_hex(4)} on {host}, process {os.getpid()}"
        self._renewed_s: float | None = None

    def acquire(self) -> None:
        """Make sure, before anything is read, that nobody else writes, and that no earlier request is under way.

        Raises:
            Unavailable: another worker has the bucket; or InfluxDB is away.

        """
        if self._renewed_s is not None and not self._server.is_unsettled:
            self.keep()
            return
        self._renewed_s = None
        found = self._read()
        is_left = found is not None and found.worker != self._name and found.is_working == "true"
        if is_left or self._server.is_unsettled:
            log.warning(
                "an earlier request to InfluxDB may still be under way: nothing is written for %.0f s", self._settle_s
            )
            self._sleep(self._settle_s)
            if (now := self._read()) != found and now is not None and now.worker != self._name:
                raise _taken(now)
        self._server.is_unsettled = False
        self._renew(is_working=True)

    def keep(self) -> None:
        """Renew the record where it is time; before each write, which rests on what was read since `acquire`.

        Raises:
            Unavailable: another worker has taken the bucket, because this one stood still.

        """
        if self._renewed_s is not None and self._now_s() - self._renewed_s <= self._settle_s / RENEWALS:
            return
        found, self._renewed_s = self._read(), None
        if found is None or found.worker != self._name:
            raise _taken(found) if found else Unavailable("the record of the bucket's worker is gone")
        self._renew(is_working=True)

    def release(self) -> None:
        """Write that this worker has ended, if no write of it is under way: its successor need not wait.

        A process that ends while InfluxDB does not answer must not wait for it.
        """
        if self._renewed_s is not None and self._server.is_answering and not self._server.is_unsettled:
            self._renew(is_working=False)
            self._renewed_s = None

    def _read(self) -> Record | None:
        asked = f"SELECT worker, renewed, working FROM owner WHERE time >= {PINNED_S * NS_PER_S}"
        for table in self._server.query([asked], {}):
            for row in zip(table["worker"], table["renewed"], table["working"], strict=True):
                return Record(*row)
        return None

    def _renew(self, *, is_working: bool) -> None:
        now_s = self._now_s()
        fields = f'worker="{self._name}",renewed={secrets.randbits(53)}i,working={str(is_working).lower()}'
        self._server.write([f"owner {fields} {PINNED_S * NS_PER_S}"])
        self._renewed_s = now_s


def _taken(by: Record) -> Unavailable:
    return Unavailable(f"the bucket in InfluxDB has another worker, {by.worker}, which is at work: stop one of the two")
