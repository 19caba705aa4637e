"""A worker on a real InfluxDB: any request can fail, come late or be its last, and time passes when it waits."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from enum import Enum
from itertools import count
from typing import Any, NamedTuple, Self

import urllib3

from normalizer_worker.recorder import Recorder
from shared.domain.errors import Unavailable
from shared.domain.readings import Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US, Slots, Window
from shared.store.influx.owner import SETTLE_S
from shared.store.influx.roll_ups import KINDS, read_stale
from shared.store.influx.server import Server
from shared.store.influx.store import InfluxStore
from tests.support import reference
from tests.support.columns import as_columns
from tests.support.comparing import assert_same
from tests.support.influxdb import InfluxDb
from tests.support.reference import Reading
from tests.support.store_contract import assert_roll_ups
from tests.support.store_ships import assert_ships

ARRIVES_S = SETTLE_S - 1
"""When a late request arrives: the latest that has to be reckoned with."""
MAX_FAILURES = 20
SHIPS = (1, 2)
_databases = count()


class Killed(BaseException):
    """The process ends here: whoever catches it throws the worker away."""


class Outcome(Enum):
    """What becomes of a request."""

    DONE = "done"
    UNANSWERED = "done, and its answer is lost"
    LATE = "given up, and done later"
    KILLED_BEFORE = "killed before it"
    KILLED_AFTER = "killed after it"
    KILLED_LATE = "killed, and it is done later"


KILLS = (Outcome.KILLED_BEFORE, Outcome.KILLED_AFTER, Outcome.KILLED_LATE)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        """Begin anywhere."""
        self.s = 1000.0

    def __call__(self) -> float:
        """Tell the seconds."""
        return self.s


class _Late(NamedTuple):
    due_s: float
    act: Callable[[], Any]


class World:
    """A database, the time, and one worker after another in it."""

    def __init__(self, influxdb: InfluxDb) -> None:
        """Begin with an empty database."""
        self.influxdb = influxdb
        self.database = influxdb.create(f"stepped{next(_databases)}")
        self.account = influxdb.account(self.database)
        self.server = Server(self.account)
        self.server.set_up()
        self.clock = Clock()
        self.outcomes: Mapping[int, Outcome] = {}
        """What becomes of requests, by their number since this was set."""
        self.requests = 0
        self.rows: list[Reading] = []
        self.deaths = self.failures = 0
        self.waited_s: list[float] = []
        self._late: list[_Late] = []
        self._waiting = deque[list[Reading]]()
        self._worker: Recorder | None = None
        self.store = self.new_store()

    def new_store(self) -> InfluxStore:
        """Open the store as a new process does."""
        store = InfluxStore(self.account, now_s=self.clock, sleep=self.sleep)
        api = store._server._client.api_client
        call = api.call_api

        def stepped(path: str, *args: Any, **more: Any) -> Any:
            return self._step(path, lambda: call(path, *args, **more))

        api.call_api = stepped
        return store

    def _step(self, path: str, act: Callable[[], Any]) -> Any:
        outcome = self.outcomes.get(self.requests, Outcome.DONE)
        self.requests += 1
        if outcome in {Outcome.LATE, Outcome.KILLED_LATE} and path == "/write":
            self._late.append(_Late(self.clock.s + ARRIVES_S, act))
        elif outcome not in {Outcome.KILLED_BEFORE, Outcome.LATE, Outcome.KILLED_LATE}:
            found = act()
            if outcome is Outcome.DONE:
                return found
            if isinstance(found, urllib3.BaseHTTPResponse):
                found.drain_conn()
        if outcome in KILLS:
            raise Killed
        raise urllib3.exceptions.HTTPError("the answer is lost")

    def sleep(self, seconds: float) -> None:
        """Let time pass for a worker that waits."""
        self.waited_s.append(seconds)
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; what is late and due by then is done."""
        self.clock.s += seconds
        due = [each for each in self._late if each.due_s <= self.clock.s]
        self._late = [each for each in self._late if each.due_s > self.clock.s]
        for each in due:
            each.act()

    @property
    def worker(self) -> Recorder:
        """The process that runs, or else a new one."""
        if self._worker is None:
            self._worker = Recorder(self.store, DEFAULT_MAX_GAP_US)
        return self._worker

    def kill(self) -> None:
        """Have the next one take its place without a word."""
        self._worker = None
        self.store._server.close()
        self.store = self.new_store()

    def record(self, *rows: Reading) -> None:
        """Record a batch."""
        self.run([[*rows]])

    def run(self, batches: Sequence[Sequence[Reading]]) -> None:
        """Record batches one after the other; a worker that dies is started again, and gets its batch again."""
        self._waiting.extend(list(each) for each in batches)
        self.rows += [row for batch in batches for row in batch]
        while self._waiting:
            try:
                self.worker.record(as_columns(self._waiting[0]))
                self._waiting.popleft()
                self.rest()
            except Killed:
                self.deaths += 1
                self.kill()
            except Unavailable:
                self.failures += 1
                if self.failures > MAX_FAILURES:
                    raise

    def rest(self) -> None:
        """Tidy until nothing is left."""
        while self.worker.tidy():
            pass

    def settle(self) -> None:
        """Have everything that is late arrive, and a new worker look after what that has left."""
        self.outcomes = {}
        self.pass_time(1e6)
        try:
            self.rest()
        except Unavailable:  # what came late may have been the record of a worker that is gone: this one begins anew
            self.rest()

    def check(self) -> None:
        """Compare everything with the reference."""
        expected = reference.slots(self.rows, DEFAULT_MAX_GAP_US)
        assert self.stored() == {key: _told(each) for key, each in reference.counting(self.rows).items()}
        with closing(InfluxStore(self.account)) as store:
            assert_same(Slots.concat([store.slots(ship, Window()) for ship in SHIPS]), expected)
            assert_roll_ups(store, expected)
            assert_ships(store, self.rows)

    def check_clean(self) -> None:
        """No roll-up is left to be made."""
        assert [key for kind in KINDS for key in read_stale(self.server, kind)] == []

    def stored(self) -> dict[tuple[int, int], tuple[object, ...]]:
        """Give what is stored of every ship and moment."""
        found = dict[tuple[int, int], tuple[object, ...]]()
        for series in self.influxdb.query("SELECT * FROM readings GROUP BY ship", self.database, epoch="u"):
            nothing = [None] * len(series.columns["time"])
            columns = (series.columns.get(name, nothing) for name in ("time", "value", "kind", "unit", "sent_at"))
            for moment_us, value, kind, unit, sent_at_us in zip(*columns, strict=True):
                of_unit = "held" if unit == "kW" else "energy"
                found[int(series.tags["ship"]), moment_us] = (value, kind or of_unit, sent_at_us)
        return found

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        self.outcomes = {}
        self.store.close()
        self.server.close()
        self.influxdb.drop(self.database)


def _told(reading: Reading) -> tuple[object, ...]:
    kind = Kind(reading.kind)
    return None if kind == Kind.UNKNOWN else reading.value, kind.label, reading.sent_at_us
