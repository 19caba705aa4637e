"""Workers on one InfluxDB of which only one goes on at a time, from one step to the next, and any step may be its last.

A step is a request to InfluxDB, or a change of the file of revisits: what lies between two of them nobody else can see.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import urllib3

from normalizer_worker.recorder import Recorder
from normalizer_worker.revisits import Revisits
from shared.readings import Readings
from shared.store.influx_presence import SHOWN_S
from shared.store.influx_server import Account
from shared.store.influxdb import InfluxStore
from tests.support.influxdb import InfluxDb
from tests.support.reference import Reading

Act = Callable[[], Any]
Step = Callable[[Act], Any]


class Killed(BaseException):
    """The process ends here: whoever catches it throws the worker away."""


class Fate(Enum):
    """What becomes of a step."""

    DONE = "done"
    KILLED_BEFORE = "killed before it"
    KILLED_AFTER = "killed after it"
    KILLED_AND_DONE_LATER = "killed, and it is done later"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        """Begin anywhere."""
        self.s = 1000.0

    def __call__(self) -> float:
        """Tell the seconds."""
        return self.s


def pass_time(influxdb: InfluxDb, database: str, clock: Clock, seconds: float = SHOWN_S + 1) -> None:
    """Let time pass for the workers and, as far as they look at it, for the server."""
    clock.s += seconds
    for series in influxdb.query("SELECT worker, here FROM workers", database, epoch="ns"):
        influxdb.query("DELETE FROM workers", database)
        rows = zip(*(series.columns[name] for name in ("worker", "here", "time")), strict=True)
        influxdb.write(
            database,
            [f'workers worker="{name}",here={here} {time - int(seconds * 1e9)}' for name, here, time in rows],
            precision="ns",
        )


class SteppedRevisits(Revisits):
    """Revisits whose changes are steps."""

    def __init__(self, folder: Path, clock: Clock, step: Step) -> None:
        """Take the same file as before, if there is one."""
        super().__init__(folder, clock)
        self._step = step

    def add(self, readings: Readings) -> None:
        """See `Revisits`."""
        self._step(lambda: super(SteppedRevisits, self).add(readings))

    def done(self, number: int) -> None:
        """See `Revisits`."""
        self._step(lambda: super(SteppedRevisits, self).done(number))


class SteppedWorker:
    """What a worker process is made of, but for MQTT."""

    def __init__(self, account: Account, folder: Path, clock: Clock, step: Step, max_gap_us: int) -> None:
        """Start as a new process does, with the data folder of the one before."""
        self.store = InfluxStore(account, now_s=clock)
        api = self.store._server._client.api_client
        call = api.call_api
        api.call_api = lambda *args, **kwargs: step(lambda: call(*args, **kwargs))
        self._revisits = SteppedRevisits(folder, clock, step)
        self.recorder = Recorder(self.store, max_gap_us, revisits=self._revisits)

    def drop(self) -> None:
        """Free what a process that is killed leaves to its system."""
        self._revisits.close()
        self.store._server.close()

    def leave(self) -> None:
        """End as a process does that is told to."""
        self._revisits.close()
        self.store.close()


class Life:
    """One worker, killed and started again as often as it takes, with a queue that delivers again."""

    def __init__(
        self, make: Callable[[], SteppedWorker], loads: Sequence[Sequence[Reading]], *, joins: bool, ends: bool
    ) -> None:
        """Prepare; the first process starts with the first load.

        Args:
            make: starts a process.
            loads: what is to be recorded, one after another.
            joins: whether what is delivered again comes together with the load after it.
            ends: whether the process is told to end when all is recorded.

        """
        self._make, self._joins, self._ends = make, joins, ends
        self._worker: SteppedWorker | None = None
        self._waiting = deque(list(load) for load in loads)
        self.deaths = 0

    @property
    def worker(self) -> SteppedWorker:
        """The process that runs, or else a new one."""
        if self._worker is None:
            self._worker = self._make()
        return self._worker

    def _die(self) -> None:
        self.deaths += 1
        if self._worker is not None:
            self._worker.drop()
            self._worker = None
        if self._joins and len(self._waiting) > 1:
            self._waiting.appendleft(self._waiting.popleft() + self._waiting.popleft())

    def extend(self, loads: Sequence[Sequence[Reading]]) -> None:
        """Have more recorded with the next `run`."""
        self._waiting.extend(list(load) for load in loads)

    def run(self) -> None:
        """Record everything."""
        while self._waiting:
            try:
                self.worker.recorder.record(Readings.from_rows(self._waiting[0]))
                self._waiting.popleft()
                self.worker.recorder.tidy()
            except Killed:
                self._die()
        if self._ends:
            try:
                self.leave()
            except Killed:
                self._die()

    def rest(self) -> None:
        """Tidy until nothing is left that can be done now."""
        while True:
            try:
                if not self.worker.recorder.tidy():
                    return
            except Killed:
                self._die()

    def leave(self) -> None:
        """End as one that is told to."""
        if self._worker is not None:
            self._worker.leave()
            self._worker = None


class Stage:
    """Runs actors, each in a thread, but only one at a time: who comes next, and what becomes of it, is chosen."""

    def __init__(self) -> None:
        """Begin without actors."""
        self._baton = threading.local()
        self._back = threading.Semaphore(0)

    def step(self, act: Act) -> Any:
        """Have an actor's step done when its turn comes; outside of `run`, at once."""
        actor: _Actor | None = getattr(self._baton, "actor", None)
        if actor is None:
            return act()
        return actor.step(act)

    def run(self, plays: Sequence[Act], choose: Callable[[int], tuple[int, Fate]]) -> None:
        """Run actors to their ends.

        Args:
            plays: what each of them does.
            choose: given how many could go on, which of them does, and what becomes of its step.

        """
        waiting: list[_Actor | Act] = []
        for play in plays:
            actor = _Actor(play, self._baton, self._back)
            actor.thread.start()
            self._back.acquire()
            waiting += [actor] if actor.act else []
            actor.check()
        while waiting:
            which, fate = choose(len(waiting))
            chosen = waiting.pop(which)
            if not isinstance(chosen, _Actor):
                _discard(chosen())
                continue
            if fate is Fate.KILLED_AND_DONE_LATER and chosen.act:
                waiting.append(chosen.act)
            chosen.go(fate)
            self._back.acquire()
            chosen.check()
            if chosen.act:
                waiting.insert(which, chosen)


class _Actor:
    """One thread, which stands still before each of its steps."""

    def __init__(self, play: Act, baton: threading.local, back: threading.Semaphore) -> None:
        self._play, self._baton, self._back = play, baton, back
        self._turn = threading.Semaphore(0)
        self._fate = Fate.DONE
        self._error: BaseException | None = None
        self.act: Act | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self._baton.actor = self
        try:
            self._play()
        except BaseException as error:  # noqa: BLE001  # handed on by `check`
            self._error = error
        self._back.release()

    def step(self, act: Act) -> Any:
        self.act = act
        self._back.release()
        self._turn.acquire()
        self.act = None
        if self._fate in (Fate.KILLED_BEFORE, Fate.KILLED_AND_DONE_LATER):
            raise Killed
        found = act()
        if self._fate is Fate.KILLED_AFTER:
            _discard(found)
            raise Killed
        return found

    def go(self, fate: Fate) -> None:
        self._fate = fate
        self._turn.release()

    def check(self) -> None:
        if self._error is not None:
            raise self._error


def _discard(answer: Any) -> None:
    """Close what nobody will read."""
    if isinstance(answer, urllib3.BaseHTTPResponse):
        answer.drain_conn()
        answer.close()
