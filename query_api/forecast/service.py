"""Keeps forecasts that were made, and makes few at a time: what the query service asks."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from query_api.forecast.fit import Model
from query_api.forecast.forecast import Forecast
from query_api.forecast.forecast import forecast as make_forecast
from query_api.forecast.steps import DAY_S
from shared.domain.errors import Busy
from shared.domain.slots import Slots, Window

HISTORY_S = 731 * DAY_S
"""Older slots are not looked at."""
RECENT_S = 2 * DAY_S
GOOD_FOR_S = 60.0
KEPT = 256
AT_ONCE = 2
WAITING = 12
"""How many questions may wait for their turn: the server's other threads are for other questions."""
PATIENCE_S = 20.0

Key = tuple[str, int, int, int]


class SlotReader(Protocol):
    """What forecasts need of `EnergyReader`."""

    def slots(self, ship: int, window: Window) -> Slots:
        """See `EnergyReader`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    forecast: Forecast
    recent: Slots
    made_s: float


class Forecasts:
    """Answers forecasts from a store; safe to use from several threads.

    An answer is given again for up to `GOOD_FOR_S` if the two days before the window's start are still the same: new
    slots and corrections there count at once, older corrections a minute later.
    """

    def __init__(
        self,
        store: SlotReader,
        models: Mapping[str, Model],
        *,
        now_s: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Begin with nothing kept."""
        self._store, self._models, self._now_s, self._patience_s = store, models, now_s, patience_s
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._turns = {name: threading.BoundedSemaphore(AT_ONCE) for name in models}
        self._waiting = threading.BoundedSemaphore(WAITING)

    def forecast(self, model: str, ship: int, start_s: int, end_s: int) -> Forecast:
        """Forecast a ship's energy in a window of whole slots.

        Raises:
            InvalidInput: there is less than a day of history, or the model cannot be used.
            Busy: too many others ask.
            BeingTrained: the model is not ready.
            Unavailable: the store does not answer.

        """
        key = model, ship, start_s, end_s
        kept = self._still_good(key)
        if kept is not None:
            return kept
        with self._in_turn(self._turns[model]):
            kept = self._still_good(key)  # another question may have been the same
            if kept is not None:
                return kept
            made_s = self._now_s()
            slots = self._store.slots(ship, Window(max(start_s - HISTORY_S, 0), start_s))
            made = make_forecast(self._models[model], slots, start_s, end_s)
            self._keep(key, _Kept(made, slots[slots.start_s >= start_s - RECENT_S], made_s))
        return made

    def _still_good(self, key: Key) -> Forecast | None:
        with self._lock:
            kept = self._kept.get(key)
        if kept is None or self._now_s() - kept.made_s > GOOD_FOR_S:
            return None
        _, ship, start_s, _ = key
        now = self._store.slots(ship, Window(max(start_s - RECENT_S, 0), start_s))
        return kept.forecast if _are_same(now, kept.recent) else None

    def _keep(self, key: Key, kept: _Kept) -> None:
        with self._lock:
            self._kept[key] = kept
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    @contextmanager
    def _in_turn(self, turn: threading.BoundedSemaphore) -> Iterator[None]:
        """Let few in at a time: a fit takes a core, and some megabytes. A model that is slow holds up itself alone."""
        if not self._waiting.acquire(blocking=False):
            raise Busy("Many forecasts are asked for at once; ask again in a moment.")
        try:
            if not turn.acquire(timeout=self._patience_s):
                raise Busy("Many forecasts are asked for at once; ask again in a moment.")
            try:
                yield
            finally:
                turn.release()
        finally:
            self._waiting.release()


def _are_same(some: Slots, others: Slots) -> bool:
    columns = ("start_s", "kwh", "covered_s", "provisional")
    return all(np.array_equal(getattr(some, name), getattr(others, name)) for name in columns)
