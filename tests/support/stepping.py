"""Workers on one InfluxDB of which only one goes on at a time, from one step to the next, and any step may be its last.

A step is a request to InfluxDB: what lies between two of them nobody else can see.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

import urllib3

from normalizer_worker.recorder import Recorder
from shared.domain.errors import Unavailable
from shared.domain.readings import Readings
from shared.store.influx.server import TIMEOUT_S, Account
from shared.store.influx.store import InfluxStore
from tests.support.reference import Reading

Act = Callable[[], Any]


class Step(Protocol):
    """How a worker does what others can see."""

    def __call__(self, act: Act, *, is_request: bool = True) -> Any:
        """Do it when its turn comes; requests can be late, or lose their answers."""


class Killed(BaseException):
    """The process ends here: whoever catches it throws the worker away."""


class Fate(Enum):
    """What becomes of a step."""

    DONE = "done"
    HALTED = "done, and the worker goes on later"
    UNANSWERED = "done, and its answer is lost"
    KILLED_BEFORE = "killed before it"
    KILLED_AFTER = "killed after it"
    KILLED_AND_DONE_LATER = "killed, and it is done later"


MAX_FAILURES = 20
"""Of one worker: more show that it never gets on."""
KILLS = (Fate.KILLED_BEFORE, Fate.KILLED_AFTER, Fate.KILLED_AND_DONE_LATER)


class Turn(NamedTuple):
    """Who goes on, what becomes of its step, and how much time passes before."""

    which: int
    fate: Fate = Fate.DONE
    after_s: float = 0.0


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        """Begin anywhere."""
        self.s = 1000.0

    def __call__(self) -> float:
        """Tell the seconds."""
        return self.s


class SteppedWorker:
    """What a worker process is made of, but for MQTT."""

    def __init__(self, account: Account, step: Step, max_gap_us: int) -> None:
        """Start as a new process does."""
        self.store = InfluxStore(account)
        api = self.store._server._client.api_client
        call = api.call_api
        api.call_api = lambda *args, **kwargs: step(lambda: call(*args, **kwargs))
        self.recorder = Recorder(self.store, max_gap_us)

    def drop(self) -> None:
        """Free what a process that is killed leaves to its system."""
        self.store._server.close()

    def leave(self) -> None:
        """End as a process does that is told to."""
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
        self.failures = 0

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
        self._deliver_again()

    def _deliver_again(self) -> None:
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
            except Unavailable:
                self.failures += 1
                if self.failures > MAX_FAILURES:
                    raise
                self._deliver_again()
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
    """Runs actors, each in a thread, but only one at a time: who comes next, and what becomes of it, is chosen.

    A request is done within `TIMEOUT_S`, or never; one that is not is given up, if its worker still lives.
    """

    def __init__(self, pass_time: Callable[[float], None]) -> None:
        """Begin without actors."""
        self._pass_time = pass_time
        self._baton = threading.local()
        self._back = threading.Semaphore(0)
        self._waiting: list[_Actor] = []
        self._orphans: list[_Request] = []

    def step(self, act: Act, *, is_request: bool = True) -> Any:
        """Have an actor's step done when its turn comes; outside of `run`, at once."""
        actor: _Actor | None = getattr(self._baton, "actor", None)
        if actor is None:
            return act()
        return actor.step(_Request(act, is_request=is_request))

    def run(self, plays: Sequence[Act], choose: Callable[[int], Turn]) -> None:
        """Run actors to their ends.

        Args:
            plays: what each of them does.
            choose: given how many could go on, whose turn it is. The last of them are requests of who was killed.

        """
        for play in plays:
            actor = _Actor(play, self._baton, self._back)
            actor.thread.start()
            self._back.acquire()
            self._waiting += [actor] if actor.request else []
            actor.check()
        while self._waiting or self._orphans:
            which, fate, after_s = choose(len(self._waiting) + len(self._orphans))
            if after_s:
                self._pass(after_s)
            if which < len(self._waiting):
                self._go(which, fate)
            elif self._orphans:
                _discard(self._orphans.pop().act())

    def _go(self, which: int, fate: Fate) -> None:
        chosen = self._waiting.pop(which)
        if fate is Fate.KILLED_AND_DONE_LATER and chosen.request:
            self._orphans.append(chosen.request)
        chosen.go(fate)
        self._back.acquire()
        chosen.check()
        if chosen.request:
            self._waiting.insert(which, chosen)

    def _pass(self, seconds: float) -> None:
        for orphan in [each for each in self._orphans if each.age_s + seconds > TIMEOUT_S]:
            self._orphans.remove(orphan)
            _discard(orphan.act())
        self._pass_time(seconds)
        for request in (*self._orphans, *(each.request for each in self._waiting)):
            if request:
                request.age_s += seconds


class _Request:
    """What is to be done, and for how long it has been under way."""

    def __init__(self, act: Act, *, is_request: bool) -> None:
        self.act, self._is_request = act, is_request
        self.age_s = 0.0

    def done(self, fate: Fate) -> Any:
        if self._is_request and self.age_s > TIMEOUT_S:
            raise urllib3.exceptions.HTTPError("given up")
        found = self.act()
        if fate is Fate.UNANSWERED and self._is_request:
            _discard(found)
            raise urllib3.exceptions.HTTPError("the answer is lost")
        return found


class _Actor:
    """One thread, which stands still before each of its steps."""

    def __init__(self, play: Act, baton: threading.local, back: threading.Semaphore) -> None:
        self._play, self._baton, self._back = play, baton, back
        self._turn = threading.Semaphore(0)
        self._fate = Fate.DONE
        self._error: BaseException | None = None
        self.request: _Request | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self._baton.actor = self
        try:
            self._play()
        except BaseException as error:  # noqa: BLE001  # handed on by `check`
            self._error = error
        self._back.release()

    def step(self, request: _Request) -> Any:
        fate = self._next(request)
        if fate in {Fate.KILLED_BEFORE, Fate.KILLED_AND_DONE_LATER}:
            raise Killed
        found = request.done(fate)
        if fate is Fate.HALTED:
            fate = self._next(_Request(lambda: None, is_request=False))
        if fate in KILLS:
            _discard(found)
            raise Killed
        return found

    def _next(self, request: _Request) -> Fate:
        self.request = request
        self._back.release()
        self._turn.acquire()
        self.request = None
        return self._fate

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
