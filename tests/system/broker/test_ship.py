"""`./power ship` on a real broker that goes on running: who is let in from now on, and what a user sees."""

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from power_cli import broker_control, ship
from power_cli.__main__ import main
from power_cli.broker_control import carry_out
from shared.runtime.settings import BrokerAdminSettings
from tests.support.authenticated_broker import AuthenticatedBroker, BrokerClient
from tests.support.servers import Broker, free_port, started
from tests.support.waiting import until

Run = Callable[..., str]


@pytest.fixture
def authenticated(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AuthenticatedBroker]:
    """A broker for one test alone, which `./power ship` finds."""
    with started(AuthenticatedBroker(tmp_path_factory.mktemp("authenticated"))) as broker:
        monkeypatch.setenv("POWER_MQTT_PORT", str(broker.port))
        monkeypatch.setenv("POWER_MQTT_ADMIN_PASSWORD", broker.password("admin"))
        yield broker


@pytest.fixture
def power(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `./power ship`, and give what it says: on standard output if it did well, else its one line of error."""

    def power(*arguments: str, status: int = 0) -> str:
        assert main(["ship", *arguments]) == status
        said = capsys.readouterr()
        if status:
            assert said.out == ""
            assert re.fullmatch(r"[^\n]+\n", said.err)
            return said.err
        return said.out

    return power


def test_a_ship_comes_and_goes_while_the_broker_runs(authenticated: AuthenticatedBroker, power: Run) -> None:
    with BrokerClient(authenticated.port, "ship-42", "") as stranger:
        assert stranger.connect() == "Not authorized"
    password = power("add", "42").removesuffix("\n")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", password)
    with BrokerClient(authenticated.port, "ship-42", password) as aboard:
        assert aboard.connect() == "Success"
        assert aboard.publish("ships/42/readings") != "Not authorized"
        assert aboard.publish("ships/43/readings") == "Not authorized"
        assert aboard.subscribe("ships/42/receipts") == "Granted QoS 1"
        power("remove", "42")
        until(lambda: not aboard.alive(), "its connection is ended")
    with BrokerClient(authenticated.port, "ship-42", password) as stranger:
        assert stranger.connect() == "Not authorized"
    again = power("add", "42").removesuffix("\n")
    assert again != password
    with BrokerClient(authenticated.port, "ship-42", again) as aboard:
        assert aboard.connect() == "Success"


def test_what_was_said_outlives_the_broker(authenticated: AuthenticatedBroker, power: Run) -> None:
    """The answer comes when it is written down; at once after it the broker may be killed."""
    password = power("add", "7").removesuffix("\n")
    authenticated.send_signal(signal.SIGKILL)
    authenticated.stop()
    authenticated.start()
    with BrokerClient(authenticated.port, "ship-7", password) as aboard:
        assert aboard.connect() == "Success"
    power("remove", "7")
    authenticated.send_signal(signal.SIGKILL)
    authenticated.stop()
    authenticated.start()
    assert power("list") == ""


def test_the_ships_are_listed_in_their_order(authenticated: AuthenticatedBroker, power: Run) -> None:
    """And the users that are no ships are not, however they are called."""
    for number in ("10", "9", str(2**53 - 1), "0"):
        power("add", number)
    carry_out(_admin(authenticated), [{"command": "createClient", "username": f"ship-{each}"} for each in ("x", "²")])
    assert power("list") == f"0\n9\n10\n{2**53 - 1}\n"


def test_a_ship_that_has_a_password_keeps_it(authenticated: AuthenticatedBroker, power: Run) -> None:
    password = power("add", "42").removesuffix("\n")
    assert "remove it first" in power("add", "42", status=1)
    with BrokerClient(authenticated.port, "ship-42", password) as aboard:
        assert aboard.connect() == "Success"
        assert aboard.subscribe("ships/42/receipts") == "Granted QoS 1"


def test_a_role_that_was_left_behind_grants_nothing_more(authenticated: AuthenticatedBroker, power: Run) -> None:
    everything = {"acltype": "publishClientSend", "topic": "#", "allow": True}
    left = [{"command": "createRole", "rolename": "ship-42", "acls": [everything]}]
    carry_out(_admin(authenticated), left)
    password = power("add", "42").removesuffix("\n")
    with BrokerClient(authenticated.port, "ship-42", password) as aboard:
        assert aboard.connect() == "Success"
        assert aboard.publish("ships/43/readings") == "Not authorized"


@pytest.mark.usefixtures("authenticated")
def test_a_ship_without_a_password_cannot_be_removed(power: Run) -> None:
    assert power("remove", "42", status=1) == "ship 42 has no password\n"


@pytest.mark.usefixtures("authenticated")
def test_a_wrong_administrator_is_told_so(power: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWER_MQTT_ADMIN_PASSWORD", "wrong")
    assert "Not authorized; check POWER_MQTT_ADMIN_PASSWORD" in power("list", status=1)


def test_a_ship_whose_role_is_gone_can_be_removed(authenticated: AuthenticatedBroker, power: Run) -> None:
    power("add", "42")
    carry_out(_admin(authenticated), [{"command": "deleteRole", "rolename": "ship-42"}])
    power("remove", "42")
    assert power("list") == ""


@pytest.mark.usefixtures("authenticated")
def test_what_the_broker_cannot_do_is_told(power: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ship, "carry_out", lambda *_: [{"command": "listClients", "error": "Internal error"}])
    assert power("list", status=1) == "the broker could not listClients: Internal error\n"


def test_a_broker_without_the_plugin_is_told_from_one_that_is_away(
    broker: Broker, power: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_control, "ANSWER_S", 0.5)
    monkeypatch.setenv("POWER_MQTT_ADMIN_PASSWORD", "x")
    monkeypatch.setenv("POWER_MQTT_PORT", str(broker.port))
    assert "dynamic-security" in power("list", status=1)
    monkeypatch.setenv("POWER_MQTT_PORT", str(free_port()))
    assert "cannot reach the broker" in power("list", status=1)


def test_the_password_is_where_power_init_puts_it(
    authenticated: AuthenticatedBroker, power: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless told otherwise; and where there is none the user learns what makes it."""
    monkeypatch.delenv("POWER_MQTT_ADMIN_PASSWORD")
    monkeypatch.setattr(ship, "ROOT", authenticated.folder)
    assert power("list") == ""
    monkeypatch.setattr(ship, "ROOT", authenticated.folder / "elsewhere")
    assert "create it with ./power init" in power("list", status=1)


def _admin(broker: AuthenticatedBroker) -> BrokerAdminSettings:
    return BrokerAdminSettings.load(
        {"POWER_MQTT_PORT": str(broker.port), "POWER_MQTT_ADMIN_PASSWORD": broker.password("admin")}
    )


def test_it_finds_the_broker_by_the_port_of_compose(
    authenticated: AuthenticatedBroker, power: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POWER_MQTT_PORT")
    monkeypatch.delenv("POWER_MQTT_HOST", raising=False)
    monkeypatch.setattr(ship, "ROOT", tmp_path)
    (tmp_path / ".env").write_text(f"POWER_BIND_ADDRESS=0.0.0.0\nPOWER_MQTT_PORT={authenticated.port}\n", "utf-8")
    power("add", "42")
    assert power("list") == "42\n"
