"""GET /data/stream: changes of a ship's slots as server-sent events."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import chain
from threading import Event

from flask import Response, request
from prometheus_client import CollectorRegistry, Counter, Gauge
from pydantic import BaseModel, Field

from query_api.answers.rows import number, timestamp
from query_api.routes.parameters import QueryParameters, ShipId
from shared.contract.acceptance import MAX_AHEAD_US
from shared.domain.clock import now_us as wall_clock_us
from shared.domain.errors import Forbidden, Unauthenticated, Unavailable
from shared.domain.slots import SLOT_S, Window, slot_ceil_us
from shared.domain.timestamps import US_PER_S, moment_us
from shared.http.app import Routes, access_check, caller, problem
from shared.http.openapi import RETRY_AFTER, Answer, Operation
from shared.http.openapi import problem as problem_answer
from shared.http.parameters import parse
from shared.http.places import Places
from shared.store.port import EnergyReader

MAX_STREAMS = 32
"""How many streams may be open at a time: each takes a thread."""
MAX_CLIENT_STREAMS = MAX_STREAMS // 2
DAY_S = 86_400
REACH_S = 31 * DAY_S
"""How far before the ship's last slot, and how far ahead of now, changes are sent: no reading affects more."""
POLL_S = 1.0
RETRY_STORE_S = 5.0
"""How long to wait before a store that did not answer is polled again."""
HEARTBEAT_S = 15.0
"""Shorter than the minute after which proxies close a silent connection."""
MAX_AGE_S = 3600.0
"""The age at which a stream ends: its client has to connect, and to show its token, again."""
RETRY_AFTER_S = 10

Known = dict[int, tuple[float, float, bool]]
"""Slots by their start: kWh, covered seconds, whether it is provisional."""


class StreamParameters(QueryParameters):
    """A ship, and the start of the slots that are sent."""

    spaceship_id: ShipId


class LastEvent(BaseModel):
    """The header that a client sends when it connects again."""

    last_event_id: str | None = Field(None, alias="Last-Event-ID", description="`id` of the last event it received")


EVENT = {
    "type": "object",
    "description": "each event; its `data` is JSON",
    "properties": {
        "event": {"type": "string", "enum": ["slot", "gone"]},
        "id": {"type": "string", "description": "start of the slots that are sent; pass it as `Last-Event-ID`"},
        "data": {"type": "string"},
    },
}
STREAM = Operation(
    path="/data/stream",
    name="ship_changes",
    summary="Changes of one ship's slots",
    description=(
        "Server-sent events. `slot` is a slot that is new or has changed, with the members of `/data` with `detail`. "
        "`gone` has the `datetime` of a slot that was removed. A stream ends after an hour."
    ),
    query=StreamParameters,
    headers=LastEvent,
    answers={
        200: Answer("All slots since `start`, then their changes.", {"text/event-stream": EVENT}),
        503: problem_answer("Too many streams are open, or the store is unavailable.", RETRY_AFTER),
    },
)
OPERATIONS = (STREAM,)


class Streams:
    """All open streams. Each polls the store by itself: comparing versions costs little."""

    def __init__(
        self,
        store: EnergyReader,
        errors: Counter,
        registry: CollectorRegistry,
        *,
        now_us: Callable[[], int] = wall_clock_us,
        max_ahead_us: int = MAX_AHEAD_US,
    ) -> None:
        """Start without streams; `errors` counts polls for which the store is `Unavailable`.

        Readings may be `max_ahead_us` ahead of the clock, `now_us` (microseconds since 1970).
        """
        self._store, self._errors, self._now_us, self._max_ahead_us = store, errors, now_us, max_ahead_us
        self._places, self._ending = Places(MAX_STREAMS, MAX_CLIENT_STREAMS), Event()
        self._open = Gauge("power_query_streams", "Open streams of /data/stream.", registry=registry)

    def end(self) -> None:
        """End all streams, because the server is about to stop; safe to call from a signal handler."""
        self._ending.set()

    def routes(self) -> Routes:
        """Build the route."""
        routes = Routes("stream", __name__, needs="read")

        @routes.serves(STREAM)
        @self._errors.count_exceptions(Unavailable)
        def stream() -> Response:
            query = parse(StreamParameters, request.args)
            start_s = _last_event_s(request.headers.get("Last-Event-ID"))
            if start_s is None:
                start_s = Window.around(query.start, None).start_s
            return self._stream(_Changes(self._store, query.spaceship_id, start_s, self._now_us, self._max_ahead_us))

        return routes

    def _stream(self, changes: "_Changes") -> Response:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx must forward each event
        if request.method == "HEAD":
            return Response(mimetype="text/event-stream", headers=headers)
        client = _client()
        if not self._places.take(client):
            detail = "Too many streams are open, of this client or of all clients; close one, or try again later."
            return problem(503, detail, headers={"Retry-After": str(RETRY_AFTER_S)})
        with ExitStack() as leaving:
            leaving.callback(self._places.give_back, client)
            leaving.enter_context(self._open.track_inprogress())
            first = "retry: 2000\n\n" + changes.since()
            is_gone = request.environ.get("waitress.client_disconnected", bool)
            events = chain([first], self._events(changes, is_gone, access_check()))
            response = Response(events, mimetype="text/event-stream", headers=headers)
            response.call_on_close(leaving.pop_all().close)
        return response

    def _events(
        self, changes: "_Changes", is_gone: Callable[[], bool], check_access: Callable[[], None]
    ) -> Iterator[str]:
        began_s = sent_s = time.monotonic()
        wait_s = POLL_S
        while not self._ending.wait(wait_s) and not is_gone() and time.monotonic() - began_s < MAX_AGE_S:
            events, wait_s = "", POLL_S
            try:
                check_access()
            except (Unauthenticated, Forbidden):  # the token was removed or has another role now
                return
            try:
                with self._errors.count_exceptions(Unavailable):
                    events = changes.since()
            except Unavailable:  # do not end: a browser that connects again and gets a 503 gives up
                wait_s = RETRY_STORE_S
            if not events and time.monotonic() - sent_s >= HEARTBEAT_S:
                events = ":\n\n"
            if events:
                sent_s = time.monotonic()
                yield events


def _client() -> str:
    """Name the client of the present request: by its token, or by its address where no tokens are asked for."""
    return caller().name or request.headers.get("X-Real-IP") or request.remote_addr or ""


@dataclass(slots=True)
class _Changes:
    """The slots of a ship that a client knows, and their changes."""

    store: EnergyReader
    ship: int
    start_s: int | None
    """Start of the slots that are sent; None for the last day of data, once there is any."""
    now_us: Callable[[], int]
    """The clock. The last slot is the last one up to now, so that a reading from the future moves nothing."""
    max_ahead_us: int
    version: str | None = None
    known: Known = field(default_factory=dict)

    def since(self) -> str:
        """Return events for all changes since the last call."""
        if self.version is not None and self.version == self.store.version(self.ship, self._window(self.start_s or 0)):
            return ""
        last_s = self.store.last_slot_s(self.ship, Window(None, (self.now_us() + self.max_ahead_us) // US_PER_S))
        if last_s is None:
            return ""
        reach_s = DAY_S if self.start_s is None else REACH_S
        self.start_s = max(self.start_s or 0, last_s + SLOT_S - reach_s)
        window = self._window(self.start_s)
        version = self.store.version(self.ship, window)  # before the slots, so that it is never newer
        now = self._read(window)
        before = {start_s: each for start_s, each in self.known.items() if start_s >= self.start_s}
        self.version, self.known = version, now
        return "".join(self._differences(before, now))

    def _window(self, start_s: int) -> Window:
        end_s = slot_ceil_us(self.now_us()) // US_PER_S + REACH_S
        return Window(start_s, max(start_s, end_s))

    def _read(self, window: Window) -> Known:
        slots = self.store.slots(self.ship, window)
        rows = zip(slots.kwh.tolist(), slots.covered_s.tolist(), slots.provisional.tolist(), strict=True)
        return dict(zip(slots.start_s.tolist(), rows, strict=True))

    def _differences(self, before: Known, now: Known) -> Iterator[str]:
        for start_s in sorted(before.keys() | now.keys()):
            if start_s not in now:
                yield self._event("gone", {"datetime": timestamp(start_s)})
            elif before.get(start_s) != now[start_s]:
                kwh, covered_s, provisional = now[start_s]
                row = {"datetime": timestamp(start_s), "value": number(kwh), "covered_seconds": number(covered_s)}
                yield self._event("slot", {**row, "provisional": provisional})

    def _event(self, kind: str, row: dict[str, object]) -> str:
        """Write an event; its `id` is the start of this stream, from which a client that reconnects gets all again."""
        return f"id: {timestamp(self.start_s or 0)}\nevent: {kind}\ndata: {json.dumps(row, separators=(',', ':'))}\n\n"


def _last_event_s(given: str | None) -> int | None:
    """Return the start in an event's `id`, or None for other texts."""
    with suppress(ValueError):
        if given is not None:
            return Window.around(moment_us(given), None).start_s
    return None
