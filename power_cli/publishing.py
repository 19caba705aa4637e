"""Publishes messages one at a time over MQTT 5, and checks the reason code of each PUBACK."""

import time

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from shared.domain.errors import Unavailable
from shared.runtime.mqtt_client import CHECK, Login

WITHIN_S = 10.0
NO_SUBSCRIBER = 0x10


class Publisher:
    """A connection to the broker, for one thread."""

    def __init__(self, host: str, port: int, login: Login) -> None:
        """Connect; the broker is `Unavailable` if it does not answer, or refuses the connection."""
        self._codes: list[ReasonCode] = []
        self._client = client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.on_connect = client.on_publish = lambda _c, _u, _subject, code, _p: self._codes.append(code)
        login.apply_to(client)
        try:
            client.connect(host, port)
        except OSError as error:
            why = error.strerror or error
            raise Unavailable(f"no broker at {host}:{port} (POWER_MQTT_HOST, POWER_MQTT_PORT): {why}") from None
        code = self._answer()
        if code.is_failure:
            raise Unavailable(f"the broker at {host}:{port} refuses the connection: {code}; {CHECK}")

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1, and wait for the PUBACK; raises `Unavailable` if there is none, or if it is an error."""
        self._client.publish(topic, payload, qos=1)
        code = self._answer()
        if code.value == NO_SUBSCRIBER:
            raise Unavailable("no worker has ever subscribed at the broker")
        if code.is_failure:
            raise Unavailable(f"the broker refused the message: {code}")

    def _answer(self) -> ReasonCode:
        deadline = time.monotonic() + WITHIN_S
        while not self._codes:
            if self._client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS and not self._codes:
                raise Unavailable("the connection to the broker is lost")
            if time.monotonic() > deadline:
                raise Unavailable("the broker did not answer in time")
        return self._codes.pop()

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
