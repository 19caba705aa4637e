"""Kills and stops processes at random moments, one or several at a time, and has them run again soon after."""

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

from tests.support.chaos.ledger import Ledger
from tests.support.chaos.processes import NODE, OWNER, Victim

PAUSES_S = [(0.05, 0.5), (0.3, 1.5), (0.3, 1.5), (1.0, 4.0), (2.0, 6.0)]
"""Between two blows: sometimes there is hardly time to start, sometimes some to recover."""
HOW_MANY = [1, 1, 1, 1, 2, 2, 3, 4]
STOP_SHARE = 0.25
STOPS_S = [(0.2, 4.0)] * 29 + [(20.0, 30.0)]
"""How long something stands still: now and then for longer than a connection stays without a ping."""
OWNER_STOPS_S = [(0.2, 4.0), (0.2, 4.0), (16.0, 24.0)]
"""The same of an owner of partitions: often for so long that others have them when it goes on."""
HALTED_S = 15.0
"""An owner that stands still for longer is left alone until it goes on."""
RECKLESS_SHARE = 0.1
"""How often a node of a broker is struck though others do not serve either."""
STARTS_S = [(0.0, 0.0), (0.0, 1.0)]
"""After how long it is started again."""


class Killer:
    """Driven by `tick`, from one thread. What it does next comes from the seed; when, within the times above, too."""

    def __init__(self, rng: random.Random, victims: Sequence[Victim], ledger: Ledger) -> None:
        """Prepare."""
        self.kills: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self._rng, self._victims, self._ledger = rng, victims, ledger
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._halted: set[Victim] = set()
        self._next_s = float("inf")

    def begin(self) -> None:
        """Strike from now on."""
        self._next_s = 0.0

    def tick(self) -> None:
        """Do what is due."""
        now_s = time.monotonic()
        self._tend(now_s)
        if now_s >= self._next_s:
            self._strike(now_s)
            self._next_s = now_s + self._rng.uniform(*self._rng.choice(PAUSES_S))

    def _tend(self, now_s: float) -> None:
        while self._due and self._due[0][0] <= now_s:
            heapq.heappop(self._due)[2]()
        for victim in self._victims:
            if why := victim.ended():
                self._ledger.differs(why)
                self._later(now_s + 1.0, partial(self._start, victim))

    def _strike(self, now_s: float) -> None:
        chosen = self._rng.sample(self._victims, min(self._rng.choice(HOW_MANY), len(self._victims)))
        for victim in chosen:
            is_stop = self._rng.random() < STOP_SHARE
            stops_s = OWNER_STOPS_S if victim.kind == OWNER else STOPS_S
            for_s = self._rng.uniform(*self._rng.choice(stops_s if is_stop else STARTS_S))
            if not victim.runs or (is_stop and victim.is_stopped) or not self._may_strike(victim):
                continue
            self._ledger.note("stop" if is_stop else "kill", process=victim.name)
            if is_stop:
                self.stops[victim.name] += 1
                victim.stop()
                if victim.kind == OWNER and for_s > HALTED_S:
                    self._halted.add(victim)
                self._later(now_s + for_s, partial(self._go_on, victim))
            else:
                self.kills[victim.name] += 1
                victim.kill()
                self._later(now_s + for_s, partial(self._start, victim))

    def _may_strike(self, victim: Victim) -> bool:
        """Whether to strike now: without a majority of its nodes a broker only waits, and starts of nodes take long."""
        if victim.kind == NODE and not all(each.is_well for each in self._victims if each.kind == NODE):
            return self._rng.random() < RECKLESS_SHARE
        return victim not in self._halted

    def _later(self, due_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (due_s, next(self._numbers), action))

    def _start(self, victim: Victim) -> None:
        if not victim.runs:
            self._ledger.note("start", process=victim.name)
            victim.start()
        self._look()

    def _go_on(self, victim: Victim) -> None:
        if victim.is_stopped:
            self._ledger.note("continue", process=victim.name)
            victim.go_on()
        self._halted.discard(victim)
        self._look()

    def _look(self) -> None:
        if all(victim.runs and not victim.is_stopped for victim in self._victims):
            self._ledger.recovery.restored()

    def relent(self) -> None:
        """Have all of them run, and leave them alone from now on, but for those that end by themselves."""
        for victim in self._victims:
            self._go_on(victim)
            self._start(victim)
        self._due.clear()
        self._next_s = float("inf")
