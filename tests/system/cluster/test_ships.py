"""`./power ship` at a RabbitMQ: what a ship may do there, and what it may not."""

from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.support.cluster import Cluster
from tests.support.servers import HOST
from tests.support.waiting import until


class Ship:
    """A client that logs in as a ship, and notes what the broker answers."""

    def __init__(self, cluster: Cluster, user: str, password: str) -> None:
        self.answers: list[Any] = []
        self.client = Client(
            CallbackAPIVersion.VERSION2, user, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False
        )
        self.client.username_pw_set(f"{cluster.vhost}:{user}", password)
        self.client.on_connect = lambda _c, _u, _f, code, _p: self.answers.append(str(code))
        self.client.on_subscribe = lambda _c, _u, _mid, codes, _p: self.answers.append(str(codes[0]))
        self.client.on_publish = lambda _c, _u, _mid, code, _p: self.answers.append(str(code))
        self.client.on_disconnect = lambda *_: self.answers.append("disconnected")
        self.client.connect(HOST, cluster.rabbitmq.nodes[0].mqtt_port)
        self.client.loop_start()

    def answer(self) -> str:
        """Wait for the next answer."""
        until(lambda: self.answers, "an answer")
        return str(self.answers.pop(0))

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()


def test_ship_is_added_listed_and_removed_with_its_connection(cluster: Cluster) -> None:
    added = cluster.power("ship", "add", "4200017")
    assert added.returncode == 0, added.stderr
    assert (
        "ship 4200017: user and client identifier ship-4200017; may publish to ships/4200017/readings" in added.stderr
    )
    assert cluster.power("ship", "list").stdout.splitlines() == ["4200017"]
    again = cluster.power("ship", "add", "4200017")
    assert (again.stderr, again.returncode) == ("ship 4200017 has a password already; remove it first\n", 1)
    ship = Ship(cluster, "ship-4200017", added.stdout.strip())
    assert ship.answer() == "Success"
    ship.client.publish("ships/4200017/readings", b"{}", qos=1)
    assert ship.answer() == "Success"
    assert cluster.power("ship", "remove", "4200017").returncode == 0
    assert ship.answer() == "disconnected"
    ship.close()
    gone = cluster.power("ship", "remove", "4200017")
    assert (gone.stderr, gone.returncode) == ("ship 4200017 has no password\n", 1)


@pytest.mark.parametrize("topic", ["ships/4200019/readings", "ships/4200018/receipts", "gateways/1", "a" * 400])
def test_ship_publishes_nowhere_else(cluster: Cluster, topic: str) -> None:
    password = cluster.power("ship", "add", "4200018").stdout.strip()
    ship = Ship(cluster, "ship-4200018", password)
    assert ship.answer() == "Success"
    ship.client.publish(topic, b"{}", qos=1)
    assert ship.answer() in {"Not authorized", "disconnected"}
    ship.close()
    assert cluster.power("ship", "remove", "4200018").returncode == 0


@pytest.mark.parametrize("topic", ["ships/4200019/receipts", "ships/+/receipts", "#", "ships/4200018/readings"])
def test_ship_listens_to_its_own_receipts_only(cluster: Cluster, topic: str) -> None:
    password = cluster.power("ship", "add", "4200018").stdout.strip()
    ship = Ship(cluster, "ship-4200018", password)
    assert ship.answer() == "Success"
    ship.client.subscribe("ships/4200018/receipts", 1)
    assert ship.answer() == "Granted QoS 1"
    ship.client.subscribe(topic, 1)
    assert ship.answer() in {"Not authorized", "disconnected"}
    ship.close()
    assert cluster.power("ship", "remove", "4200018").returncode == 0
