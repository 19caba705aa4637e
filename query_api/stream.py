"""GET /data/stream: a ship's slots as they change, as server-sent events."""

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event

from flask import Response, request
from prometheus_client import CollectorRegistry, Counter, Gauge

from query_api.answers import number, text
from query_api.interface.energy import STREAM
from query_api.parameters import StreamParameters
from shared.clock import now_us as wall_clock_us
from shared.errors import Forbidden, Unauthenticated, Unavailable
from shared.http import Routes, access_check, caller, problem
from shared.moments import US_PER_S, moment_us
from shared.parameters import parse
from shared.places import Places
from shared.rules import MAX_AHEAD_US
from shared.slots import SLOT_S, Window, slot_ceil_us
from shared.store.port import EnergyReader

MOST = 32
"""So many may listen at a time: each takes a thread."""
MOST_OF_ONE = MOST // 2
"""How many of one client."""
DAY_S = 86_400
REACH_S = 31 * DAY_S
"""So far back from the ship's last slot changes are told, and so far ahead of now: no reading speaks for longer."""
POLL_S = 1.0
AWAY_S = 5.0
"""How long to leave a store alone that does not answer."""
HEARTBEAT_S = 15.0
"""Within the minute that proxies wait for a word."""
LIFE_S = 3600.0
"""Then a listener has to come again, and show its token again."""
RETRY_AFTER_S = 10

Known = dict[int, tuple[float, float, bool]]
"""Slots by their start: kWh, covered seconds, whether it is provisional."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many streams there may be, and how often each does what, in seconds."""

    most: int = MOST
    most_of_one: int = MOST_OF_ONE
    poll_s: float = POLL_S
    away_s: float = AWAY_S
    heartbeat_s: float = HEARTBEAT_S
    life_s: float = LIFE_S


class Streams:
    """Everybody who listens. They ask the store, each for itself: that its version has not changed costs little."""

    def __init__(
        self,
        store: EnergyReader,
        errors: Counter,
        registry: CollectorRegistry,
        *,
        pace: Pace | None = None,
        now_us: Callable[[], int] = wall_clock_us,
        max_ahead_us: int = MAX_AHEAD_US,
    ) -> None:
        """Have nobody listen yet.

        Args:
            store: where to look.
            errors: counts where it is `Unavailable`.
            registry: of the metrics.
            pace: how many streams there may be, and how often each does what.
            now_us: the clock, microseconds since 1970.
            max_ahead_us: how far readings may be ahead of the clock.

        """
        self._store, self._errors, self._pace = store, errors, pace or Pace()
        self._now_us, self._max_ahead_us = now_us, max_ahead_us
        self._places, self._ending = Places(self._pace.most, self._pace.most_of_one), Event()
        self._open = Gauge("power_query_streams", "Listeners to /data/stream.", registry=registry)

    def end(self) -> None:
        """End all streams, from a signal handler, too: the server is about to stop."""
        self._ending.set()

    def routes(self) -> Routes:
        """Build the route."""
        routes = Routes("stream", __name__, needs="read")

        @routes.serves(STREAM)
        @self._errors.count_exceptions(Unavailable)
        def stream() -> Response:
            asked = parse(StreamParameters, request.args)
            start_s = _last_event_s(request.headers.get("Last-Event-ID"))
            if start_s is None and asked.start is not None:
                start_s = asked.window.start_s
            return self._stream(_Changes(self._store, asked.spaceship_id, start_s, self._now_us, self._max_ahead_us))

        return routes

    def _stream(self, changes: "_Changes") -> Response:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # which tells nginx to pass on each event
        if request.method == "HEAD":
            return Response(mimetype="text/event-stream", headers=headers)
        client = _client()
        if not self._places.take(client):
            told = "Too many streams are open, of this client or of all clients; close one, or try again later."
            return problem(503, told, headers={"Retry-After": str(RETRY_AFTER_S)})
        is_gone = request.environ.get("waitress.client_disconnected", bool)
        events = self._events(changes, client, is_gone, access_check())
        next(events)  # from here on it gives its place back, however it ends
        try:
            first = next(events)
        except BaseException:
            events.close()
            raise
        response = Response(_after(first, events), mimetype="text/event-stream", headers=headers)
        response.call_on_close(events.close)
        return response

    def _events(
        self, changes: "_Changes", client: str, is_gone: Callable[[], bool], check_access: Callable[[], None]
    ) -> Generator[str]:
        pace, began_s = self._pace, time.monotonic()
        try:
            self._open.inc()
            yield ""
            yield "retry: 2000\n\n" + changes.since()
            heard_s = time.monotonic()
            wait_s = pace.poll_s
            while not self._ending.wait(wait_s) and not is_gone() and time.monotonic() - began_s < pace.life_s:
                said, wait_s = "", pace.poll_s
                try:
                    check_access()
                except (Unauthenticated, Forbidden):  # the token has been removed, or another one put in its place
                    return
                try:
                    with self._errors.count_exceptions(Unavailable):
                        said = changes.since()
                except Unavailable:  # a browser whose stream ends now would be answered 503, and not come again
                    wait_s = pace.away_s
                if not said and time.monotonic() - heard_s >= pace.heartbeat_s:
                    said = ":\n\n"
                if said:
                    heard_s = time.monotonic()
                    yield said
        finally:
            self._open.dec()
            self._places.give_back(client)


def _client() -> str:
    """Name whose place the present request takes: its token's; where nobody is asked for one, its address's."""
    return caller().name or request.headers.get("X-Real-IP") or request.remote_addr or ""


def _after(first: str, events: Iterator[str]) -> Iterator[str]:
    yield first
    yield from events


@dataclass(slots=True)
class _Changes:
    """What a listener has been told of a ship, and what is new.

    Attributes:
        start_s: nothing before it is told; None stands for the last day of data, once there is any.
        now_us: the clock. The ship's last slot is the last one up to now: one stamp in the future moves nothing.
        max_ahead_us: how far readings may be ahead of the clock.

    """

    store: EnergyReader
    ship: int
    start_s: int | None
    now_us: Callable[[], int]
    max_ahead_us: int
    version: str | None = None
    known: Known = field(default_factory=dict)

    def since(self) -> str:
        """Give events of all that has changed since the last call."""
        if self._is_as_before():
            return ""
        last_s = self.store.last_slot_s(self.ship, Window(None, (self.now_us() + self.max_ahead_us) // US_PER_S))
        if last_s is None:
            return ""
        reach_s = DAY_S if self.start_s is None else REACH_S
        self.start_s = max(self.start_s or 0, last_s + SLOT_S - reach_s)
        window = self._window(self.start_s)
        version = self.store.version(self.ship, window)  # before the slots: it must not be newer
        now = self._now(window)
        before = {start_s: each for start_s, each in self.known.items() if start_s >= self.start_s}
        self.version, self.known = version, now
        return "".join(self._told(before, now))

    def _is_as_before(self) -> bool:
        if self.version is None or self.start_s is None:
            return False
        return self.store.version(self.ship, self._window(self.start_s)) == self.version

    def _window(self, start_s: int) -> Window:
        end_s = slot_ceil_us(self.now_us()) // US_PER_S + REACH_S
        return Window(start_s, max(start_s, end_s))

    def _now(self, window: Window) -> Known:
        slots = self.store.slots(self.ship, window)
        rows = zip(slots.kwh.tolist(), slots.covered_s.tolist(), slots.provisional.tolist(), strict=True)
        return dict(zip(slots.start_s.tolist(), rows, strict=True))

    def _told(self, before: Known, now: Known) -> Iterator[str]:
        for start_s in sorted(before.keys() | now.keys()):
            if start_s not in now:
                yield self._event("gone", {"datetime": text(start_s)})
            elif before.get(start_s) != now[start_s]:
                kwh, covered_s, provisional = now[start_s]
                row = {"datetime": text(start_s), "value": number(kwh), "covered_seconds": number(covered_s)}
                yield self._event("slot", {**row, "provisional": provisional})

    def _event(self, kind: str, row: dict[str, object]) -> str:
        """Name with each event where the listening began: whoever comes again with it is told all from there anew."""
        return f"id: {text(self.start_s or 0)}\nevent: {kind}\ndata: {json.dumps(row, separators=(',', ':'))}\n\n"


def _last_event_s(given: str | None) -> int | None:
    """Read what an `id` of ours says; others are nothing to us."""
    with suppress(ValueError):
        if given is not None:
            return Window.around(moment_us(given), None).start_s
    return None
