"""`POWER_BROKER_URL`, and how it goes together with the older settings."""

import pytest

from shared.domain.errors import InvalidSettings
from shared.runtime.broker_url import Broker, parse
from shared.runtime.mqtt_client import Login
from shared.runtime.settings import ClusterSettings, IngestSettings, RabbitMqSettings, WorkerSettings

URL = "POWER_BROKER_URL"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", Broker("mqtt", (("broker", 1883),))),
        ("mqtts://broker", Broker("mqtts", (("broker", 8883),))),
        ("mqtt://user:p%40ss@broker:1884", Broker("mqtt", (("broker", 1884),), "user", "p@ss")),
        ("mqtt://user:@[::1]:1884/", Broker("mqtt", (("::1", 1884),), "user", "")),
        ("mqtt://user:pw@a,b:2,c/ships", Broker("mqtt", (("a", 1883), ("b", 2), ("c", 1883)), "ships:user", "pw")),
        ("amqp://user:pw@a:1,b/ships%2F1", Broker("amqp", (("a", 1), ("b", 5672)), "user", "pw", "ships/1")),
        ("amqps://a", Broker("amqps", (("a", 5671),))),
    ],
)
def test_address_is_read(url: str, expected: Broker) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker",
        "http://broker",
        "mqtt://",
        "mqtt://a b",
        "mqtt://a:0",
        "mqtt://a:70000",
        "mqtt://a,,b",
        "mqtt://a/v",
    ],
)
def test_wrong_address_is_one_line_without_its_password(url: str) -> None:
    wrong = url.replace("://", "://user:secret@") if url != "mqtt://a/v" else url
    with pytest.raises(InvalidSettings, match=f"^{URL} ") as raised:
        WorkerSettings.load({URL: wrong})
    assert "secret" not in str(raised.value)


def test_gateway_speaks_mqtt_only() -> None:
    with pytest.raises(InvalidSettings, match=r"^POWER_BROKER_URL should begin with mqtt:// or mqtts://$"):
        IngestSettings.load({URL: "amqp://broker"})


def test_older_settings_mean_the_same() -> None:
    old = {"POWER_MQTT_HOST": "b", "POWER_MQTT_PORT": "2", "POWER_MQTT_USERNAME": "u", "POWER_MQTT_PASSWORD": "p"}
    new = {URL: "mqtt://u:p@b:2"}
    assert WorkerSettings.load(old).broker == WorkerSettings.load(new).broker
    assert Login.of(WorkerSettings.load(old)) == Login.of(WorkerSettings.load(new))
    assert WorkerSettings.load({**old, **new}).broker == WorkerSettings.load(new).broker


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POWER_MQTT_HOST", "other"),
        ("POWER_MQTT_PORT", "3"),
        ("POWER_MQTT_USERNAME", "other"),
    ],
)
def test_settings_that_contradict_each_other_are_one_line(name: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^{URL} and {name} contradict each other$"):
        WorkerSettings.load({URL: "mqtt://u:p@b:2", name: value})


def test_cluster_needs_both_addresses() -> None:
    with pytest.raises(InvalidSettings, match=r"POWER_BROKER_URL is missing.*POWER_AMQP_URL is missing"):
        ClusterSettings.load({})
    with pytest.raises(InvalidSettings, match=r"^POWER_AMQP_URL should begin with amqp:// or amqps://$"):
        ClusterSettings.load({URL: "mqtt://b", "POWER_AMQP_URL": "mqtt://b"})


def test_management_address_is_read() -> None:
    management = RabbitMqSettings.load({"POWER_RABBITMQ_URL": "https://a%40b:p%2F@[::1]:1/ships"}).management
    assert (management.url, management.username, management.password, management.vhost) == (
        "https://[::1]:1",
        "a@b",
        "p/",
        "ships",
    )
