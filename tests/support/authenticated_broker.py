"""A broker that asks who is there, and clients that tell what it lets them do."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from power_cli.broker_users import STATE_FILE, password_name
from power_cli.init import make
from power_cli.up import ROOT
from tests.support.programs import need
from tests.support.servers import HOST, Broker, broker_program, free_port
from tests.support.waiting import until

CONFIGURATION = ROOT / "mosquitto"
PLUGIN = "mosquitto_dynamic_security.so"
PLUGIN_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib")
PERSISTENCE_2_0 = "persistence true\npersistence_location /mosquitto/data/\n"


class AuthenticatedBroker(Broker):
    """A real Mosquitto, configured as in docker-compose.yml but for paths, ports and, on 2.0, its storage."""

    def __init__(self, folder: Path) -> None:
        """Prepare one that keeps its state in a folder, with the users that `./power init` makes."""
        super().__init__(folder)
        self.tls_port = free_port()
        self.secrets = folder / "secrets"
        (folder / "data").mkdir()
        (folder / "tls").mkdir()
        make(folder)
        shutil.copy(self.secrets / STATE_FILE, folder / "data")

    def password(self, user: str) -> str:
        """Give the password of one of the first users."""
        return (self.secrets / password_name(user)).read_text("utf-8").strip()

    def configure(self) -> Path:
        """See `Broker`."""
        text = (CONFIGURATION / "mosquitto.conf").read_text("utf-8")
        if (
            "version 2.0"
            in subprocess.run([broker_program(), "-h"], capture_output=True, text=True, check=False).stdout
        ):
            text = text[: text.index("persistence_location")] + PERSISTENCE_2_0
        if os.geteuid() == 0:  # it would become another user, who may not write here
            text += "user root\n"
        path = self.folder / "mosquitto.conf"
        path.write_text(self._here(text), "utf-8")
        return path

    @property
    def certificate(self) -> Path:
        """By which it is known over TLS."""
        return self.folder / "tls" / "server.crt"

    def add_tls(self) -> None:
        """Give it a certificate of its own and a listener with TLS."""
        need("openssl")
        tls = self.folder / "tls"
        names = ["-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{HOST}"]
        files = ["-keyout", str(tls / "server.key"), "-out", str(self.certificate)]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
        subprocess.run(command, check=True, capture_output=True)
        example = (CONFIGURATION / "tls" / "listener.conf.example").read_text("utf-8")
        (tls / "listener.conf").write_text(self._here(example), "utf-8")

    def _here(self, text: str) -> str:
        for there, here in (
            ("listener 1883\n", f"listener {self.port} {HOST}\n"),
            ("listener 8883\n", f"listener {self.tls_port} {HOST}\n"),
            ("/mosquitto/data", str(self.folder / "data")),
            ("/mosquitto/config/tls", str(self.folder / "tls")),
            ("/usr/lib/", f"{_plugin_folder()}/"),
        ):
            text = text.replace(there, here)
        return text


def _plugin_folder() -> Path:
    patterns = (PLUGIN, f"*/{PLUGIN}")
    found = next((path for folder in PLUGIN_FOLDERS for each in patterns for path in Path(folder).glob(each)), None)
    assert found is not None, f"Mosquitto is installed without {PLUGIN}"
    return found.parent


class BrokerClient:
    """A client that keeps what the broker answers and sends; each method gives the broker's word, such as `Success`."""

    def __init__(
        self, port: int, username: str | None = None, password: str | None = None, client_id: str | None = None
    ) -> None:
        """Prepare one; its client identifier is its user name unless told otherwise."""
        self.received: list[tuple[str, bytes]] = []
        self.protocol = MQTTProtocolVersion.MQTTv5
        self._port = port
        self._answers: list[str] = []
        self._client_id = client_id if client_id is not None else username or ""
        self._login = (username, password)
        self._will: tuple[str, bytes] | None = None
        self._client: Client | None = None

    def with_will(self, topic: str, payload: bytes) -> Self:
        """Have the broker send something should the connection be lost."""
        self._will = (topic, payload)
        return self

    def connect(self) -> str:
        """Connect, or try to."""
        self._client = client = Client(CallbackAPIVersion.VERSION2, self._client_id, protocol=self.protocol)
        client.username_pw_set(*self._login)
        if self._will:
            client.will_set(*self._will, qos=1)

        def answered(_c: Client, _u: Any, _flags: Any, code: ReasonCode, _p: Any) -> None:
            self._answers.append(str(code))

        def confirmed(_c: Client, _u: Any, _mid: int, code: ReasonCode, _p: Any) -> None:
            self._answers.append(str(code))

        def subscribed(_c: Client, _u: Any, _mid: int, codes: list[ReasonCode], _p: Any) -> None:
            self._answers.append(str(codes[0]))

        def came(_c: Client, _u: Any, message: MQTTMessage) -> None:
            self.received.append((message.topic, bytes(message.payload)))

        client.on_connect, client.on_publish, client.on_subscribe, client.on_message = (
            answered,
            confirmed,
            subscribed,
            came,
        )
        client.connect(HOST, self._port)
        return self._answer()

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> str:
        """Publish with QoS 1."""
        assert self._client is not None
        self._client.publish(topic, payload, qos=1, retain=retain)
        return self._answer()

    def subscribe(self, topic_filter: str) -> str:
        """Subscribe with QoS 1."""
        assert self._client is not None
        self._client.subscribe(topic_filter, qos=1)
        return self._answer()

    def _answer(self) -> str:
        until(lambda: self.alive() and self._answers, "the broker answers")
        return self._answers.pop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def alive(self) -> bool:
        """Handle what has come; tell whether the connection is still there. After an answer it may not be."""
        assert self._client is not None
        return self._client.loop(0.01) == MQTTErrorCode.MQTT_ERR_SUCCESS or bool(self._answers)

    def close(self, *, politely: bool = True) -> None:
        """End the connection, if there is one; not politely, it is lost without a word."""
        if self._client is not None:
            if politely:
                self._client.disconnect()
            sock = self._client.socket()
            if sock is not None:
                sock.close()
            self._client = None  # its callbacks hold us, and we held it: now it goes, with what else it has open
