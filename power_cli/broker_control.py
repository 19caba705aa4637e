"""Has the broker's dynamic-security plugin carry out commands, over MQTT, as its administrator."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from power_cli.broker_users import ADMIN, CONTROL, RESPONSE
from shared.broker import Login
from shared.errors import InvalidSettings, Unavailable
from shared.settings import BrokerAdminSettings

ANSWER_S = 10.0

Command = Mapping[str, Any]


def carry_out(settings: BrokerAdminSettings, commands: Sequence[Command]) -> list[dict[str, Any]]:
    """Send commands in one message, and give the answers in their order; one that failed holds an `error`.

    Raises:
        Unavailable: the broker does not answer.
        InvalidSettings: it does not take this client for its administrator.

    """
    where = f"the broker at {settings.mqtt_host}:{settings.mqtt_port}"
    mark = str(uuid4())
    request = json.dumps({"commands": [{**each, "correlationData": mark} for each in commands]})
    answers: list[dict[str, Any]] = []
    refusals: list[ReasonCode] = []

    def connected(client: Client, _u: Any, _f: Any, code: ReasonCode, _p: Any) -> None:
        if not refused(code):
            client.subscribe(RESPONSE, qos=1)

    def subscribed(client: Client, _u: Any, _mid: int, codes: list[ReasonCode], _p: Any) -> None:
        if not refused(codes[0]):
            client.publish(CONTROL, request, qos=1)

    def refused(code: ReasonCode) -> bool:
        if code.is_failure:
            refusals.append(code)
        return code.is_failure

    def answered(_c: Client, _u: Any, message: MQTTMessage) -> None:
        responses = json.loads(message.payload)["responses"]
        if all(each.get("correlationData") == mark for each in responses):
            answers.extend(responses)

    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, answered
    client.on_publish = lambda _c, _u, _mid, code, _p: refused(code)
    Login(ADMIN, settings.mqtt_admin_password, settings.mqtt_ca_file).apply_to(client)
    try:
        client.connect(settings.mqtt_host, settings.mqtt_port)
    except OSError as error:
        raise Unavailable(f"{where} is not there: {error}") from None
    deadline = time.monotonic() + ANSWER_S
    while not answers and not refusals:
        if client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS and not refusals:
            raise Unavailable(f"{where} ended the connection")
        if time.monotonic() > deadline:
            raise Unavailable(f"{where} did not answer in {ANSWER_S:.0f} s")
    client.disconnect()
    if refusals:
        raise InvalidSettings(f"{where} refuses its administrator: {refusals[0]}; check POWER_MQTT_ADMIN_PASSWORD")
    return answers
