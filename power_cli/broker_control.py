"""Sends commands to the broker's dynamic-security plugin, over MQTT, as its administrator."""

import json
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from power_cli.broker_users import ADMIN, CONTROL, RESPONSE
from shared.domain.errors import InvalidSettings, Unavailable
from shared.runtime.mqtt_client import Login
from shared.runtime.settings import BrokerAdminSettings

ANSWER_S = 10.0

Command = Mapping[str, Any]
Answer = dict[str, Any]


def carry_out(settings: BrokerAdminSettings, commands: Sequence[Command]) -> list[Answer]:
    """Send commands in one message and return the answers in order; the answer to a failed command has an `error`.

    Raises:
        Unavailable: the broker does not answer.
        InvalidSettings: the broker does not accept the administrator's login.

    """
    where = f"the broker at {settings.mqtt_host}:{settings.mqtt_port}"
    outcome: SimpleQueue[list[Answer] | ReasonCode] = SimpleQueue()
    client = _commander([{**each, "correlationData": str(uuid4())} for each in commands], outcome)
    Login(ADMIN, settings.mqtt_admin_password, settings.mqtt_ca_file).apply_to(client)
    try:
        client.connect(settings.mqtt_host, settings.mqtt_port)
    except OSError as error:
        raise Unavailable(f"cannot reach {where}: {error}") from None
    client.loop_start()
    try:
        answers = outcome.get(timeout=ANSWER_S)
    except Empty:
        why = "./power ship needs a broker with the dynamic-security plugin"
        raise Unavailable(f"{where} does not answer; {why}") from None
    finally:
        client.disconnect()
        client.loop_stop()
    if isinstance(answers, ReasonCode):
        raise InvalidSettings(f"{where} refuses the administrator: {answers}; check POWER_MQTT_ADMIN_PASSWORD")
    return answers


def _commander(commands: Sequence[Command], outcome: SimpleQueue[list[Answer] | ReasonCode]) -> Client:
    """Return a client that sends commands once connected; the outcome is the answers, or a reason code of a failure."""

    def is_refused(code: ReasonCode) -> bool:
        if code.is_failure:
            outcome.put(code)
        return code.is_failure

    def connected(client: Client, _u: Any, _f: Any, code: ReasonCode, _p: Any) -> None:
        if not is_refused(code):
            client.subscribe(RESPONSE, qos=1)

    def subscribed(client: Client, _u: Any, _mid: int, codes: list[ReasonCode], _p: Any) -> None:
        if not is_refused(codes[0]):
            client.publish(CONTROL, json.dumps({"commands": commands}), qos=1)

    def published(_c: Client, _u: Any, _mid: int, code: ReasonCode, _p: Any) -> None:
        is_refused(code)

    def answered(_c: Client, _u: Any, message: MQTTMessage) -> None:
        # Mosquitto 2.1 without the plugin sends another answer.
        responses = json.loads(message.payload).get("responses", [])
        if [each.get("correlationData") for each in responses] == [each["correlationData"] for each in commands]:
            outcome.put(responses)

    client = Client(
        CallbackAPIVersion.VERSION2,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,  # a second connection would send the commands again
    )
    client.on_connect, client.on_subscribe = connected, subscribed
    client.on_publish, client.on_message = published, answered
    return client
