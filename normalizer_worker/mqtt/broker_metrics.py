"""Metrics and readiness checks of the broker: lost sessions, dropped messages, refused receipts."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter

from shared.http.health import Check

log = logging.getLogger(__name__)

DROPS_SHOW_S = 60.0
"""How long `/readyz` shows that the broker has dropped messages. Mosquitto publishes the count every 10 s."""


class BrokerMetrics:
    """Written by the worker's thread, over all of its connections; read by any thread."""

    def __init__(self, registry: CollectorRegistry, now_s: Callable[[], float] = time.monotonic) -> None:
        """Begin at 0; `now_s` is a monotonic clock."""
        self._now_s = now_s
        self._had_session = False
        self._reached = True
        self._dropped = math.nan
        self._drops_show_until_s = -math.inf
        counter = partial(Counter, registry=registry)
        self._refused = counter("power_worker_receipts_refused", "Receipts that the broker refused.")
        self._sessions = counter(
            "power_worker_lost_sessions", "Sessions that the broker has lost, with the messages queued in them."
        )
        self._subscriptions = counter(
            "power_worker_lost_subscriptions", "Times that the worker's subscription was found lost."
        )

    def refused(self, receipts: int) -> None:
        """Count receipts that the broker refused."""
        self._refused.inc(receipts)

    def session(self, *, is_known: bool) -> None:
        """Note, with each connection, whether the broker has kept the session."""
        if self._had_session and not is_known:
            self._sessions.inc()
            log.warning(
                "the broker has lost the worker's session, and the messages that waited in it: the gateway publishes"
                " its own again, ships repeat theirs where they wait for receipts"
            )
        self._had_session = True

    def subscription(self, *, works: bool) -> None:
        """Note that a message has arrived, or that the canary has not."""
        self._reached = works
        if not works:
            self._subscriptions.inc()

    def dropped(self, count: float) -> None:
        """Note how many messages the broker has dropped since its start."""
        # A smaller count: the broker was restarted. The first count is not news: it may be old.
        more = count if count < self._dropped else count - self._dropped
        self._dropped = count
        if more > 0:
            self._drops_show_until_s = self._now_s() + DROPS_SHOW_S
            log.warning(
                "the broker has dropped %d messages, because a queue is full: the gateway publishes its own again,"
                " ships repeat theirs where they wait for receipts",
                more,
            )

    def checks(self) -> Mapping[str, Check]:
        """Return the checks that have to hold for messages to reach the worker."""
        return {
            "subscription": lambda: self._reached,
            "queue": lambda: self._now_s() >= self._drops_show_until_s,
        }
