"""Sends batches to a running service over HTTP: in order for each ship, with retries on temporary errors."""

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from uuid import UUID, uuid4

import numpy as np
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError

from shared.contract.kinds import Units
from shared.domain.columns import F64, I64
from shared.domain.errors import InvalidInput, PowerError, Problem, Unavailable
from shared.domain.timestamps import US_PER_S
from shared.runtime.settings import SenderSettings

log = logging.getLogger(__name__)

CONNECTIONS = 4
AHEAD = 4
"""Batches per connection that may be in flight or waiting; bounds the memory."""
RETRY_S = 60.0
"""How long to retry a service that has answered before; a restart takes far less."""
PAUSE_S = 1.0
TIMEOUT = urllib3.Timeout(connect=5, read=60)
UNAUTHORIZED = 401
TEMPORARY = {429, 502, 503, 504}
SHOWN_PROBLEMS = 5


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Parcel:
    """One batch to send.

    Attributes:
        name: shown to the user in messages.
        ship: `spaceship_id`.
        units: of the values.
        moment_us: microseconds since 1970, int64[n].
        value: in `units`, NaN where it is unknown, float64[n].
        batch_id: the same for every resend, so that the service detects duplicates.
        stated: other members of the batch, such as `stamp`.
        duration_us: how long each reading speaks, int64[n]; None if that is not stated.

    """

    name: str
    ship: int
    units: Units
    moment_us: I64
    value: F64
    batch_id: UUID = field(default_factory=uuid4)
    stated: Mapping[str, object] = field(default_factory=dict)
    duration_us: I64 | None = None

    def body(self) -> bytes:
        """Return the batch as JSON."""
        unit: Literal["us", "s"] = "us" if (self.moment_us % US_PER_S).any() else "s"
        moments = np.datetime_as_string(self.moment_us.astype("datetime64[us]"), unit=unit, timezone="UTC")
        values: list[float | None] = self.value.tolist()
        if np.isnan(self.value).any():
            values = [
                None if is_unknown else value for value, is_unknown in zip(values, np.isnan(self.value), strict=True)
            ]
        readings = zip(moments.tolist(), values, strict=True)
        batch = {
            "spaceship_id": self.ship,
            "units": self.units,
            "batch_id": str(self.batch_id),
            **self.stated,
            "data": [{"datetime": moment, "value": value} for moment, value in readings],
        }
        self._add_durations(batch)
        return json.dumps(batch).encode()

    def _add_durations(self, batch: dict[str, Any]) -> None:
        """Add how long the readings speak: once, where it is the same for all."""
        if self.duration_us is None:
            return
        durations_s = (self.duration_us / US_PER_S).tolist()
        known = {duration_s for duration_s in durations_s if duration_s}
        if len(known) == 1:
            batch["duration_s"] = known.pop()
            return
        for reading, duration_s in zip(batch["data"], durations_s, strict=True):
            if duration_s:
                reading["duration_s"] = duration_s


Sent = TypeVar("Sent", bound=Parcel)


def no_service(url: str) -> Unavailable:
    """Return the error for a service that does not answer."""
    return Unavailable(f"no service answers at {url}; start it with ./power up")


def no_token(url: str) -> InvalidInput:
    """Return the error for an access token that is missing or unknown."""
    return InvalidInput(f"{url} requires a valid access token: set POWER_API_TOKEN")


def no_power_service(url: str, status: int, request: str) -> InvalidInput:
    """Return the error for an answer that the service does not give."""
    return InvalidInput(f"{url} answered {status} to {request}; is it the power service?")


def authorization() -> dict[str, str]:
    """Return the header with the user's access token, if there is one; `InvalidSettings` if it is not a token."""
    token = SenderSettings.load(os.environ).api_token
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def deliver(url: str, parcels: Iterable[Sent], connections: int = CONNECTIONS) -> Iterator[Sent]:
    """Send batches, and yield each one once the service has accepted it.

    All batches of a ship use one connection, one after another: of two values with the same timestamp the one accepted
    last counts.

    Raises:
        Unavailable: the service does not run, or did not answer for too long.
        InvalidInput: the service rejects a batch; later ones are not sent.
        InvalidSettings: `POWER_API_TOKEN` is not a token.

    """
    client = _Client(url, connections)
    lanes = [ThreadPoolExecutor(max_workers=1) for _ in range(connections)]
    in_flight: deque[Future[Sent]] = deque()
    try:
        for parcel in parcels:
            in_flight.append(lanes[parcel.ship % connections].submit(client.post, parcel))
            if len(in_flight) >= AHEAD * connections:
                yield in_flight.popleft().result()
        while in_flight:
            yield in_flight.popleft().result()
    finally:
        client.stopped.set()
        for lane in lanes:
            lane.shutdown(cancel_futures=True)
        client.http.clear()


class _Client:
    """Posts batches from any thread; stops at the first failure."""

    def __init__(self, url: str, connections: int) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json", **authorization()}
        self.http = urllib3.PoolManager(num_pools=1, maxsize=connections, retries=False)
        self.stopped = threading.Event()
        self._failures: list[PowerError] = []
        self._answered = False

    def post(self, parcel: Sent) -> Sent:
        """Post a batch, with retries for up to `RETRY_S`."""
        if self._failures:
            raise self._failures[0]
        try:
            self._post_with_retries(parcel.name, parcel.body())
        except PowerError as error:
            self._failures.append(error)
            self.stopped.set()
            raise self._failures[0] from None
        return parcel

    def _post_with_retries(self, name: str, body: bytes) -> None:
        deadline: float | None = None
        while (retry := self._try(name, body)) is not None:
            trouble, pause_s = retry
            if deadline is None:
                deadline = time.monotonic() + RETRY_S
                log.warning("%s: %s; retrying for %.0f s", self._url, trouble, RETRY_S)
            if time.monotonic() + pause_s > deadline:
                raise Unavailable(
                    f"{self._url} did not accept a batch for {RETRY_S:.0f} s ({trouble}); run this again later:"
                    " readings that are sent twice count once"
                )
            if self.stopped.wait(pause_s):
                raise Unavailable("interrupted before everything was sent")

    def _try(self, name: str, body: bytes) -> tuple[str, float] | None:
        """Post a batch once; return a temporary error, and how long to wait before the next try."""
        try:
            response = self.http.request(
                "POST", f"{self._url}/data", body=body, headers=self._headers, timeout=TIMEOUT, redirect=False
            )
        except HTTPError as error:
            if isinstance(error, ConnectTimeoutError) and not self._answered:  # it has never answered: do not retry
                raise no_service(self._url) from None
            return f"no answer ({type(error).__name__})", PAUSE_S
        self._answered = True
        if response.status in TEMPORARY:
            return f"status {response.status}", _retry_after_s(response)
        if response.status not in (200, 201, 202):
            raise refusal(self._url, name, response)
        return None


def _retry_after_s(response: urllib3.BaseHTTPResponse) -> float:
    asked_s = None
    with suppress(HTTPError):
        asked_s = urllib3.Retry().get_retry_after(response)
    return PAUSE_S if asked_s is None else min(asked_s, RETRY_S / 2)


def refusal(url: str, name: str, response: urllib3.BaseHTTPResponse, request: str = "POST /data") -> InvalidInput:
    """Return an error that says in one line why a batch was rejected, and names its invalid fields."""
    if response.status == UNAUTHORIZED:
        return no_token(url)
    try:
        answer = response.json()
        detail = answer["detail"]
        problems = tuple(Problem(each["at"], each["problem"]) for each in answer.get("errors", []))
    except (ValueError, LookupError, TypeError, AttributeError):
        return no_power_service(url, response.status, request)
    places = [f"{each.at} {each.problem}" for each in problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        places.append(f"and {len(problems) - SHOWN_PROBLEMS} more")
    why = f"{detail}: {'; '.join(places)}" if places else detail
    return InvalidInput(f"the service refuses {name}: {why}", problems)
