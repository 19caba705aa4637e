"""Settings: their defaults, their bounds, and one line that names every wrong one."""

from pathlib import Path

import pytest
from pydantic import Field

from shared.contract.acceptance import Rules
from shared.domain.errors import InvalidSettings
from shared.domain.timestamps import moment_us
from shared.runtime.mqtt_client import ANONYMOUS, Login
from shared.runtime.settings import (
    IngestSettings,
    QuerySettings,
    Secret,
    SenderSettings,
    Settings,
    StoreSettings,
    WorkerSettings,
)

SERVICES = [IngestSettings, QuerySettings, WorkerSettings]


@pytest.mark.parametrize("oldest", ["1999-12-31", "1999-12-31T00:00:00Z", "1999-12-31T01:00:00+01:00"])
def test_the_oldest_moment_is_a_date_or_a_moment(oldest: str) -> None:
    """A date stands for its first moment, in UTC."""
    assert WorkerSettings.load({"POWER_OLDEST": oldest}).oldest_us == moment_us("1999-12-31T00:00:00Z")


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_starts_without_a_setting(service: type[Settings]) -> None:
    """Everything has a default that fits one machine; what others have set in the environment is no concern of ours."""
    assert service.load({"PATH": "/bin", "_": "/bin/env", "POWER_UNHEARD_OF": "x"}) == service.load({})


def test_the_defaults_stay_on_this_machine() -> None:
    """Nobody else may connect before somebody has thought about it."""
    ingest, query, worker = IngestSettings.load({}), QuerySettings.load({}), WorkerSettings.load({})
    assert (ingest.http_host, ingest.http_port, ingest.mqtt_host, ingest.mqtt_port) == (
        "127.0.0.1",
        5000,
        "127.0.0.1",
        1883,
    )
    assert query.http_host == "127.0.0.1"
    assert query.data_dir == worker.data_dir
    assert (worker.http_host, worker.http_port) == ("127.0.0.1", 5001)
    assert worker.max_gap_s == 24 * 3600
    assert ingest.rules == worker.rules == Rules()
    assert not ingest.allow_negative
    assert not worker.allow_negative


def test_every_setting_is_read_from_its_variable() -> None:
    """The names are the contract's `POWER_*`."""
    environ = {
        "POWER_MQTT_HOST": "broker",
        "POWER_MQTT_PORT": "65535",
        "POWER_HTTP_HOST": "0.0.0.0",
        "POWER_HTTP_PORT": "1",
        "POWER_WORKER_HTTP_PORT": "0",
        "POWER_API_TOKENS_FILE": "/srv/tokens.jsonl",
        "POWER_DATA_DIR": "/srv/power",
        "POWER_ALLOW_NEGATIVE": "true",
        "POWER_MAX_GAP_S": "900",
        "POWER_MAX_AHEAD_S": "0",
        "POWER_OLDEST": "2019-01-05T06:37:00+02:00",
        "POWER_WATCH_FORECASTS": "false",
    }
    ingest, query, worker = (
        IngestSettings.load(environ),
        QuerySettings.load(environ),
        WorkerSettings.load(environ),
    )
    assert (ingest.mqtt_host, ingest.mqtt_port) == (worker.mqtt_host, worker.mqtt_port) == ("broker", 65535)
    assert (ingest.http_host, ingest.http_port) == (query.http_host, query.http_port) == ("0.0.0.0", 1)
    assert (worker.http_host, worker.http_port) == ("0.0.0.0", 0)
    assert ingest.api_tokens_file == query.api_tokens_file == worker.api_tokens_file == Path("/srv/tokens.jsonl")
    assert query.data_dir == worker.data_dir == Path("/srv/power")
    assert ingest.allow_negative
    assert worker.allow_negative
    assert worker.max_gap_s == 900
    assert query.max_ahead_us == 0
    assert not query.watch_forecasts
    assert QuerySettings.load({}).watch_forecasts
    assert ingest.rules == worker.rules == Rules(True, 900_000_000, 0, moment_us("2019-01-05T04:37:00Z"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("POWER_MQTT_HOST", ""),
        ("POWER_MQTT_PORT", "0"),
        ("POWER_MQTT_PORT", "65536"),
        ("POWER_MQTT_PORT", "-1"),
        ("POWER_MQTT_PORT", "mqtt"),
        ("POWER_MQTT_PORT", ""),
        ("POWER_MQTT_PORT", "18.5"),
        ("POWER_WORKER_HTTP_PORT", "-1"),
        ("POWER_WORKER_HTTP_PORT", "65536"),
        ("POWER_ALLOW_NEGATIVE", "maybe"),
        ("POWER_ALLOW_NEGATIVE", ""),
        ("INFLUXDB_SETTLE_S", "0"),
        ("INFLUXDB_SETTLE_S", "601"),
        ("INFLUXDB_SETTLE_S", "inf"),
        ("POWER_MAX_GAP_S", "899"),
        ("POWER_MAX_GAP_S", str(31 * 24 * 3600 + 1)),
        ("POWER_MAX_GAP_S", "24h"),
        ("POWER_MAX_GAP_S", "nan"),
        ("POWER_MAX_AHEAD_S", "-1"),
        ("POWER_MAX_AHEAD_S", "1h"),
        ("POWER_MAX_AHEAD_S", "9" * 20),
        ("POWER_OLDEST", ""),
        ("POWER_OLDEST", "2000"),
        ("POWER_OLDEST", "2000-02-30"),
        ("POWER_OLDEST", "1969-12-31"),
        ("POWER_OLDEST", "946684800"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(variable: str, value: str) -> None:
    """A missing or wrong setting stops a service at start with one line that names it."""
    with pytest.raises(InvalidSettings) as caught:
        WorkerSettings.load({variable: value})
    assert variable in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "meant"), [("", None), ("16777216", 2**24)])
def test_quota_of_a_sender_may_be_left_empty(value: str, meant: int | None) -> None:
    assert IngestSettings.load({"POWER_OUTBOX_SENDER_BYTES": value}).outbox_sender_bytes == meant


@pytest.mark.parametrize("value", ["16777215", "0", "half"])
def test_wrong_quota_of_a_sender_is_named(value: str) -> None:
    with pytest.raises(InvalidSettings, match="POWER_OUTBOX_SENDER_BYTES"):
        IngestSettings.load({"POWER_OUTBOX_SENDER_BYTES": value})


@pytest.mark.parametrize("service", [IngestSettings, QuerySettings])
@pytest.mark.parametrize(("variable", "value"), [("POWER_HTTP_PORT", "http"), ("POWER_HTTP_HOST", "")])
def test_a_wrong_http_setting_is_named(service: type[Settings], variable: str, value: str) -> None:
    """By both services that listen."""
    with pytest.raises(InvalidSettings, match=variable):
        service.load({variable: value})


def test_all_wrong_settings_are_named_at_once() -> None:
    """Nobody should have to start a service as often as it has wrong settings."""
    wrong = {"POWER_MQTT_PORT": "x", "POWER_ALLOW_NEGATIVE": "maybe", "POWER_MAX_GAP_S": "z", "POWER_MQTT_HOST": ""}
    with pytest.raises(InvalidSettings) as caught:
        WorkerSettings.load(wrong)
    assert all(variable in str(caught.value) for variable in wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "meant"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_a_switch_is_on_or_off(value: str, meant: bool) -> None:  # noqa: FBT001  # what the table says
    """POWER_ALLOW_NEGATIVE means the same to the gateway and to the worker."""
    environ = {"POWER_ALLOW_NEGATIVE": value}
    assert IngestSettings.load(environ).allow_negative is meant
    assert WorkerSettings.load(environ).allow_negative is meant


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.2", "power.example", "localhost.example", "127.0.0.1.example"]
)
def test_who_listens_beyond_this_machine_must_ask_who_is_there(service: type[Settings], host: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^POWER_HTTP_HOST [^\n]*POWER_API_TOKENS_FILE must be set$"):
        service.load({"POWER_HTTP_HOST": host})
    service.load({"POWER_HTTP_HOST": host, "POWER_API_TOKENS_FILE": "tokens.jsonl"})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_this_machine_nobody_need_be_asked(host: str) -> None:
    assert IngestSettings.load({"POWER_HTTP_HOST": host}).api_tokens_file is None


def test_an_empty_tokens_file_setting_is_not_taken_for_none() -> None:
    """A variable that was meant to be filled must not open the door."""
    with pytest.raises(InvalidSettings, match="POWER_API_TOKENS_FILE is empty"):
        QuerySettings.load({"POWER_API_TOKENS_FILE": ""})


@pytest.mark.parametrize("token", ["", "two words", "a\nX-Header: b", "é"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(InvalidSettings, match="POWER_API_TOKEN should") as caught:
        SenderSettings.load({"POWER_API_TOKEN": token})
    assert not token or token not in str(caught.value)


class _WithSecret(Settings):
    secret: Secret = Field(None, alias="POWER_SECRET")


def test_a_secret_may_stand_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    """An editor's line break at its end is no part of it."""
    file = tmp_path / "secret"
    file.write_text("correct horse\n", "utf-8")
    for environ in ({"POWER_SECRET": "correct horse"}, {"POWER_SECRET_FILE": str(file)}):
        settings = _WithSecret.load(environ)
        assert settings.secret == "correct horse"  # noqa: S105  # of this test alone
        assert "horse" not in repr(settings)
    assert _WithSecret.load({}).secret is None


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff"])
def test_a_secrets_file_without_a_secret_is_a_wrong_setting(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidSettings, match=r"^POWER_SECRET [^\n]* POWER_SECRET_FILE"):
        _WithSecret.load({"POWER_SECRET_FILE": str(file)})


@pytest.mark.parametrize(
    "environ",
    [
        {"POWER_SECRET": ""},
        {"POWER_SECRET_FILE": ""},
        {"POWER_SECRET": "hidden", "POWER_SECRET_FILE": __file__},
        {"POWER_SECRET": "", "POWER_SECRET_FILE": __file__},
    ],
)
def test_a_secret_is_given_once_and_not_empty(environ: dict[str, str]) -> None:
    """A variable that was meant to be filled must not let anybody in, and of two nobody knows which one counts."""
    with pytest.raises(InvalidSettings, match=r"^POWER_SECRET ") as caught:
        _WithSecret.load(environ)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("service", [IngestSettings, WorkerSettings])
def test_a_broker_password_requires_a_username(service: type[Settings]) -> None:
    for password in ({"POWER_MQTT_PASSWORD": "x"}, {"POWER_MQTT_PASSWORD_FILE": __file__}):
        service.load({"POWER_MQTT_USERNAME": "worker", **password})
        with pytest.raises(InvalidSettings, match=r"^POWER_MQTT_PASSWORD is set, so POWER_MQTT_USERNAME must be, too$"):
            service.load(password)


def test_of_a_wrong_password_file_nothing_more_is_said() -> None:
    with pytest.raises(InvalidSettings, match=r"^POWER_MQTT_PASSWORD cannot be read from POWER_MQTT_PASSWORD_FILE: \w"):
        WorkerSettings.load({"POWER_MQTT_USERNAME": "worker", "POWER_MQTT_PASSWORD_FILE": "/nowhere"})
    with pytest.raises(InvalidSettings, match=r"^POWER_MQTT_USERNAME is empty$"):
        WorkerSettings.load({"POWER_MQTT_USERNAME": "", "POWER_MQTT_PASSWORD": "x"})


@pytest.mark.parametrize("path", ["", "/nowhere", __file__])
def test_a_ca_file_holds_certificates(path: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^POWER_MQTT_CA_FILE holds no certificates: [^\n]+$"):
        IngestSettings.load({"POWER_MQTT_CA_FILE": path})


def test_who_gets_into_the_broker_is_told_from_the_settings() -> None:
    environ = {"POWER_MQTT_USERNAME": "worker", "POWER_MQTT_PASSWORD": "secret"}
    assert Login.of(WorkerSettings.load(environ)) == Login("worker", "secret")
    assert "secret" not in repr(Login.of(WorkerSettings.load(environ)))
    assert Login.of(WorkerSettings.load({})) == ANONYMOUS


@pytest.mark.parametrize("url", [{}, {"INFLUXDB_URL": ""}, {"INFLUXDB_URL": "localhost:8086"}])
def test_where_influxdb_is_has_to_be_said_only_where_it_is_the_store(url: dict[str, str]) -> None:
    assert StoreSettings.load({"POWER_STORE": "embedded", **url}).store == "embedded"
    with pytest.raises(InvalidSettings, match=r"^INFLUXDB_URL should be an address"):
        StoreSettings.load({"POWER_STORE": "influxdb", **url})


# --- the store in one address


@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("sqlite:/var/lib/power", "embedded"),
        ("influxdb:http://127.0.0.1:8086", "influxdb"),
        ("postgresql://power:secret@db/power", "postgresql"),
        ("postgres://power:secret@db/power", "postgresql"),
    ],
)
def test_an_address_says_which_store_it_is(url: str, store: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{url}\n", "utf-8")
    for environ in ({"POWER_STORE_URL": url}, {"POWER_STORE_URL_FILE": str(tmp_path / "url")}):
        settings = StoreSettings.load(environ)
        assert (settings.store, settings.store_url) == (store, url)
        assert "secret" not in repr(settings)
        assert StoreSettings.load({**environ, "POWER_STORE": store}).store == store
    assert StoreSettings.load({}).store == "embedded"


def test_an_address_says_what_the_other_settings_say() -> None:
    url = {"POWER_STORE_URL": "influxdb:https://here:8086?bucket=fleet&org=us"}
    for more in ({}, {"INFLUXDB_BUCKET": "fleet"}, {"INFLUXDB_URL": "https://here:8086", "INFLUXDB_ORG": "us"}):
        settings = StoreSettings.load({**url, **more})
        assert (settings.influxdb_url, settings.influxdb_bucket, settings.influxdb_org) == (
            "https://here:8086",
            "fleet",
            "us",
        )
    assert StoreSettings.load({"POWER_STORE_URL": "influxdb:http://here:8086"}).influxdb_bucket == "power"
    assert StoreSettings.load({"POWER_STORE_URL": "sqlite:some/where"}).sqlite_folder == Path("some/where")
    assert StoreSettings.load({"POWER_DATA_DIR": "some/where"}).sqlite_folder == Path("some/where")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"POWER_STORE_URL": "mysql://secret@db"}, "POWER_STORE_URL should be sqlite:FOLDER, influxdb:http://"),
        ({"POWER_STORE_URL": "sqlite:"}, "POWER_STORE_URL should be sqlite:FOLDER"),
        ({"POWER_STORE_URL": ""}, "POWER_STORE_URL"),
        (
            {"POWER_STORE_URL": "postgresql://secret@db", "POWER_STORE": "influxdb"},
            "POWER_STORE contradicts POWER_STORE_",
        ),
        (
            {"POWER_STORE_URL": "influxdb:http://a", "INFLUXDB_URL": "http://b"},
            "INFLUXDB_URL contradicts POWER_STORE_URL",
        ),
        ({"POWER_STORE_URL": "influxdb:http://secret@a"}, "INFLUXDB_URL should not contain a login"),
        ({"POWER_STORE": "postgresql"}, "POWER_STORE is postgresql, so POWER_STORE_URL must be set, too"),
        (
            {"POWER_POSTGRES_READ_URL": "postgresql://secret@db"},
            "POWER_POSTGRES_READ_URL is set, but POWER_STORE_URL is no",
        ),
        (
            {"POWER_STORE_URL": "postgresql://db", "POWER_POSTGRES_READ_URL": "secret@db"},
            "POWER_POSTGRES_READ_URL should be an address",
        ),
    ],
)
def test_addresses_that_are_wrong_or_contradict_are_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        StoreSettings.load(environ)
    assert str(caught.value).startswith(said)
    assert "secret" not in str(caught.value)
