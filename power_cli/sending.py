"""Sends batches to a running service over HTTP: those of one ship in order, through what passes by itself."""

import json
import logging
import os
import threading
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, TypeVar
from uuid import UUID, uuid4

import numpy as np
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError

from power_cli.up import HOST
from shared.contract.batch import Units
from shared.domain.errors import InvalidInput, PowerError, Problem, Unavailable
from shared.domain.readings import F64, I64, MAX_SHIP
from shared.domain.timestamps import US_PER_S
from shared.runtime.settings import SenderSettings

log = logging.getLogger(__name__)

DEFAULT_URL = f"http://{HOST}:5000"
CONNECTIONS = 4
AHEAD = 4
"""How many batches per connection may be under way or waiting: what bounds the memory."""
RETRY_S = 60.0
"""How long a service that answered before may be away; a restart takes far less."""
PAUSE_S = 1.0
TIMEOUT = urllib3.Timeout(connect=5, read=60)
UNAUTHORIZED = 401
PASSING = {429, 502, 503, 504}
SHOWN_PROBLEMS = 5


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Parcel:
    """One batch to send.

    Attributes:
        name: what a message to the user calls it.
        ship: `spaceship_id`.
        units: of the values.
        moment_us: microseconds since 1970, int64[n].
        value: in `units`, float64[n].
        batch_id: stays the same however often it is sent, so that a repeat is known for one.

    """

    name: str
    ship: int
    units: Units
    moment_us: I64
    value: F64
    batch_id: UUID = field(default_factory=uuid4)

    def body(self) -> bytes:
        """Write it as JSON."""
        unit: Literal["us", "s"] = "us" if (self.moment_us % US_PER_S).any() else "s"
        moments = np.datetime_as_string(self.moment_us.astype("datetime64[us]"), unit=unit, timezone="UTC")
        readings = zip(moments.tolist(), self.value.tolist(), strict=True)
        batch = {
            "spaceship_id": self.ship,
            "units": self.units,
            "batch_id": str(self.batch_id),
            "data": [{"datetime": moment, "value": value} for moment, value in readings],
        }
        return json.dumps(batch).encode()


Sent = TypeVar("Sent", bound=Parcel)


def add_url_argument(parser: ArgumentParser) -> None:
    """Describe the option that names the service."""
    parser.add_argument("--url", type=_url, default=DEFAULT_URL, help=f"the service's address (default {DEFAULT_URL})")


def ship_number(text: str) -> int:
    """Read a `spaceship_id` from the command line."""
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_SHIP):
        raise ArgumentTypeError(f"a ship is a whole number from 0 to {MAX_SHIP}, not {text!r}")
    return int(text)


def deliver(url: str, parcels: Iterable[Sent], connections: int = CONNECTIONS) -> Iterator[Sent]:
    """Send batches, each ship's in their order, and give each one back when the service has accepted it.

    A ship's batches keep to one connection, and wait there for one another: of two values for one moment the one
    accepted later counts.

    Raises:
        Unavailable: the service does not run, or has been away for too long.
        InvalidInput: it refuses a batch; those behind it are not sent.
        InvalidSettings: `POWER_API_TOKEN` is no token.

    """
    client = _Client(url, connections, SenderSettings.load(os.environ).api_token)
    lanes = [ThreadPoolExecutor(max_workers=1) for _ in range(connections)]
    under_way: deque[Future[Sent]] = deque()
    try:
        for parcel in parcels:
            under_way.append(lanes[parcel.ship % connections].submit(client.post, parcel))
            if len(under_way) >= AHEAD * connections:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        client.stop()
        for lane in lanes:
            lane.shutdown(cancel_futures=True)
        client.close()


class _Client:
    """Posts batches from any thread; after the first failure it posts nothing more."""

    def __init__(self, url: str, connections: int, token: str | None) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._http = urllib3.PoolManager(num_pools=1, maxsize=connections, retries=False)
        self._stopped = threading.Event()
        self._failures: list[PowerError] = []
        self._answered = False

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self._http.clear()

    def post(self, parcel: Sent) -> Sent:
        """Have the service accept a batch, however many tries it takes within `RETRY_S`."""
        if self._failures:
            raise self._failures[0]
        try:
            self._try_on(parcel.name, parcel.body())
        except PowerError as error:
            self._failures.append(error)
            self.stop()
            raise self._failures[0] from None
        return parcel

    def _try_on(self, name: str, body: bytes) -> None:
        deadline: float | None = None
        while True:
            trouble, pause_s = self._try(name, body)
            if trouble is None:
                return
            if deadline is None:
                deadline = time.monotonic() + RETRY_S
                log.warning("%s: %s; trying again for %.0f s", self._url, trouble, RETRY_S)
            if time.monotonic() + pause_s > deadline:
                raise Unavailable(
                    f"{self._url} has been away for {RETRY_S:.0f} s ({trouble}); run this again when it is back:"
                    " readings that are sent twice count once"
                )
            if self._stopped.wait(pause_s):
                raise Unavailable("stopped before everything was sent")

    def _try(self, name: str, body: bytes) -> tuple[str | None, float]:
        """Send a batch once: give what went wrong, None where nothing did, and how long to wait before the next try."""
        try:
            response = self._http.request(
                "POST", f"{self._url}/data", body=body, headers=self._headers, timeout=TIMEOUT, redirect=False
            )
        except HTTPError as error:
            if isinstance(error, ConnectTimeoutError) and not self._answered:  # never was there: waiting is no use
                raise Unavailable(f"no service answers at {self._url}; start it with ./power up") from None
            return f"no answer ({type(error).__name__})", PAUSE_S
        self._answered = True
        if response.status in PASSING:
            return f"status {response.status}", _retry_after_s(response)
        if response.status not in (200, 201, 202):
            raise _refusal(self._url, name, response)
        return None, 0


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ArgumentTypeError(f"an address is like {DEFAULT_URL}, not {text!r}")
    return text.rstrip("/")


def _retry_after_s(response: urllib3.BaseHTTPResponse) -> float:
    try:
        asked_s = urllib3.Retry().get_retry_after(response)
    except HTTPError:
        asked_s = None
    return PAUSE_S if asked_s is None else min(asked_s, RETRY_S / 2)


def _refusal(url: str, name: str, response: urllib3.BaseHTTPResponse) -> InvalidInput:
    """Say in one line why a batch was refused, and where its faults are."""
    if response.status == UNAUTHORIZED:
        return InvalidInput(f"{url} asks for an access token that it knows; give it one in POWER_API_TOKEN")
    try:
        answer = response.json()
        detail = answer["detail"]
        problems = tuple(Problem(each["at"], each["problem"]) for each in answer.get("errors", []))
    except (ValueError, LookupError, TypeError, AttributeError):
        return InvalidInput(f"{url} answers {response.status} to POST /data; is it the power service?")
    places = [f"{each.at} {each.problem}" for each in problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        places.append(f"and {len(problems) - SHOWN_PROBLEMS} more")
    why = f"{detail}: {'; '.join(places)}" if places else detail
    return InvalidInput(f"the service refuses {name}: {why}", problems)
