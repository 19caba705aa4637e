"""Finds out whether what is published still reaches the worker, when nothing has come for long."""

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
    """A message to ourselves, sent over one connection when it is quiet; used from the connection's one thread.

    A subscriber is not told that it is one no more. To subscribe again from time to time would not do: that is granted,
    and nothing comes all the same, where the right to be *sent* messages is gone (Mosquitto 2.0.11, with its
    dynamic-security plugin, and with a file of rules that it has read again).
    """

    def __init__(self, client: Client, told: BrokerMetrics, now_s: Callable[[], float] = time.monotonic) -> None:
        """Prepare; the first is due as soon as it is quiet, because after a loss it says whether that is over."""
        self._client = client
        self._now_s = now_s
        self._told = told
        self._due_s = -_NEVER_S
        self._is_quiet = True
        self._is_out = False
        self._unconfirmed: int | None = None
        self._back_by_s = _NEVER_S

    def heard(self) -> None:
        """Learn that a message has come by the subscription, ours or another."""
        if self._is_quiet:  # the first says it for all that follow
            self._is_quiet = self._is_out = False
            self._back_by_s = _NEVER_S
            self._told.subscription(works=True)

    def confirmed(self, mid: int, code: ReasonCode) -> bool:
        """Learn what the broker says to a message; tell whether it was ours."""
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
        """Send one, if it is time; asked when there is nothing to read, and all that came is acknowledged.

        Raises:
            Unavailable: the last one was confirmed, and has not come; or the connection is lost.

        """
        now_s = self._now_s()
        if not self._is_quiet:
            self._is_quiet, self._due_s = True, max(self._due_s, now_s + QUIET_S)
        if now_s > self._back_by_s:
            self._told.subscription(works=False)
            raise Unavailable("the subscription is lost: what the worker sends to itself does not come")
        if not self._is_out and self._unconfirmed is None and now_s >= self._due_s:
            self._is_out = True
            self._unconfirmed = self._client.publish(CANARY, b"", qos=1).mid
