"""Checks with a canary message that the subscription still works when no message has arrived for long."""

import logging
import time
from collections.abc import Callable

from paho.mqtt.client import Client
from paho.mqtt.reasoncodes import ReasonCode

from normalizer_worker.mqtt.broker_metrics import BrokerMetrics
from shared.contract.topics import CANARY
from shared.domain.errors import Unavailable

log = logging.getLogger(__name__)

QUIET_S = 30.0
BACK_WITHIN_S = 10.0
_NEVER_S = float("inf")


class Canary:
    """A message that the worker sends to itself when its connection is quiet; used from the connection's thread.

    A broker does not tell a client that its subscription is gone. Subscribing again would not show it: Mosquitto grants
    a subscription also to a client that has lost the right to be sent messages (2.0.11, with its dynamic-security
    plugin or a reloaded ACL file).
    """

    def __init__(self, client: Client, told: BrokerMetrics, now_s: Callable[[], float] = time.monotonic) -> None:
        """Prepare. The first canary is due as soon as the connection is quiet: it may be a reconnect after a loss."""
        self._client = client
        self._now_s = now_s
        self._told = told
        self._due_s = -_NEVER_S
        self._is_quiet = True
        self._is_out = False
        self._unconfirmed: int | None = None
        self._back_by_s = _NEVER_S

    def heard(self) -> None:
        """Note that a message has arrived, a canary or another."""
        if self._is_quiet:  # the first one is enough
            self._is_quiet = self._is_out = False
            self._back_by_s = _NEVER_S
            self._told.subscription(works=True)

    def confirmed(self, mid: int, code: ReasonCode) -> bool:
        """Handle a PUBACK; return whether it was the canary's."""
        if mid != self._unconfirmed:
            return False
        self._unconfirmed = None
        if code.is_failure:
            self._is_out, self._due_s = False, _NEVER_S
            log.warning("the broker refuses the canary message on %s: %s", CANARY, code)
        elif self._is_out:
            self._back_by_s = self._now_s() + BACK_WITHIN_S
        return True

    def go_on(self) -> None:
        """Send a canary when one is due; called when there is nothing to read and all messages are acknowledged.

        Raises:
            Unavailable: the last canary was confirmed and did not arrive, or the connection is lost.

        """
        now_s = self._now_s()
        if not self._is_quiet:
            self._is_quiet, self._due_s = True, max(self._due_s, now_s + QUIET_S)
        if now_s > self._back_by_s:
            self._told.subscription(works=False)
            raise Unavailable("the subscription is lost: the worker's canary message did not arrive")
        if not self._is_out and self._unconfirmed is None and now_s >= self._due_s:
            self._is_out = True
            self._unconfirmed = self._client.publish(CANARY, b"", qos=1).mid
