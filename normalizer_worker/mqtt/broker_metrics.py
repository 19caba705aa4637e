"""What the worker tells of the broker: what it has lost, what it does not take, and whether it passes messages on."""

import logging
import math
import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter

from shared.http.health import Check

log = logging.getLogger(__name__)

DROPS_SHOW_S = 60.0
"""How long it shows that the broker has dropped messages: Mosquitto tells every 10 s."""


class BrokerMetrics:
    """Written by the worker's one thread, over one connection after the other, and read by any."""

    def __init__(self, registry: CollectorRegistry, now_s: Callable[[], float] = time.monotonic) -> None:
        """Begin at 0; `now_s` is a clock that only rises."""
        self._now_s = now_s
        self._had_session = False
        self._reached = True
        self._dropped = math.nan
        self._drops_show_until_s = -math.inf
        self._refused = Counter(
            "power_worker_receipts_refused", "Receipts that the broker did not take.", registry=registry
        )
        self._sessions = Counter(
            "power_worker_lost_sessions", "Sessions that the broker has forgotten, with what waited.", registry=registry
        )
        self._subscriptions = Counter(
            "power_worker_lost_subscriptions", "Times that messages did not reach the worker.", registry=registry
        )

    def refused(self, receipts: int) -> None:
        """Count receipts that the broker did not take."""
        self._refused.inc(receipts)

    def session(self, *, is_known: bool) -> None:
        """Learn, with each connection, whether the broker knows our session."""
        if self._had_session and not is_known:
            self._sessions.inc()
            log.warning(
                "the broker has lost the worker's session, and the messages that waited in it: the gateway publishes"
                " its own again, ships repeat theirs where they wait for receipts"
            )
        self._had_session = True

    def subscription(self, *, works: bool) -> None:
        """Learn that a message has come, or that one that must have come has not."""
        self._reached = works
        if not works:
            self._subscriptions.inc()

    def dropped(self, count: float) -> None:
        """Learn how many messages the broker has dropped since its start."""
        # Fewer than before: it was started again. And what was before we heard of it for the first time is not news.
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
        """Give what has to hold for messages to reach the worker."""
        return {
            "subscription": lambda: self._reached,
            "queue": lambda: self._now_s() >= self._drops_show_until_s,
        }
