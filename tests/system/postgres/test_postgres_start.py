"""What a service says of its PostgreSQL at its start: what it promises, or in one line what is wrong."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings, PowerError, Unavailable
from shared.domain.slots import Window
from shared.store.postgres import schema, server
from shared.store.postgres.store import OnePartitionStore, PostgresStore
from tests.support.owners import Owner, assert_holds, reading
from tests.support.postgres import PASSWORD, Postgres
from tests.support.servers import HOST, free_port, started
from tests.support.waiting import until

HERE = "what is committed is on the server's disk, and on no standby's: it survives a crash, not a lost disk"
THERE = "what is committed is on the disks of the server and of a standby"


def what_is_wrong(url: str, kind: type[PowerError], *, reads: bool = False) -> str:
    """Return the one line that says why a server cannot be used."""
    with closing(PostgresStore(url)) as store, pytest.raises(kind) as caught:
        (store.check if reads else store.check_writing)()
    said = str(caught.value)
    assert "\n" not in said
    assert PASSWORD not in said
    return said


# --- wrong settings


def test_a_wrong_password_is_a_wrong_setting(postgres: Postgres) -> None:
    said = what_is_wrong(postgres.url(password="wrong"), InvalidSettings)  # noqa: S106  # it is none
    assert "password authentication failed" in said


def test_no_password_is_a_wrong_setting(postgres: Postgres) -> None:
    assert "no password supplied" in what_is_wrong(postgres.url().replace(f":{PASSWORD}", ""), InvalidSettings)


def test_a_missing_database_is_a_wrong_setting(postgres: Postgres) -> None:
    assert 'database "nowhere" does not exist' in what_is_wrong(postgres.url("nowhere"), InvalidSettings)


def test_an_unknown_parameter_is_a_wrong_setting(postgres: Postgres) -> None:
    with pytest.raises(InvalidSettings, match=r"^POWER_STORE_URL is not a PostgreSQL address: .*nothing"):
        PostgresStore(postgres.url(more="?nothing=1"))


def test_a_user_who_may_not_make_tables_is_a_wrong_setting(postgres: Postgres) -> None:
    url = postgres.create()
    postgres.run(f"CREATE USER guest PASSWORD '{PASSWORD}'")
    said = what_is_wrong(url.replace("//power:", "//guest:"), InvalidSettings)
    assert "permission denied for schema public" in said


def test_a_server_that_is_not_there_is_waited_for() -> None:
    assert "Connection refused" in what_is_wrong(f"postgresql://{HOST}:{free_port()}/x", Unavailable)


def test_a_server_that_is_too_old_is_a_wrong_setting(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "OLDEST_VERSION", 99)
    said = what_is_wrong(postgres.url(), InvalidSettings)
    assert said.startswith(f"PostgreSQL at {HOST} has version ")
    assert said.endswith("; this service needs 99 or newer")


def test_a_store_of_many_partitions_is_not_written_by_a_worker_at_mosquitto(postgres: Postgres) -> None:
    with closing(OnePartitionStore(postgres.create())) as store:
        assert store.pinned("POWER_PARTITIONS", "64") == "64"
        with pytest.raises(InvalidSettings, match=r"has 64 partitions"), store.transaction():
            pass


SERVICES = ["normalizer_worker", "query_api"]


@pytest.mark.parametrize("module", SERVICES)
def test_a_service_with_a_wrong_setting_ends_with_one_line(postgres: Postgres, tmp_path: Path, module: str) -> None:
    settings = {
        "POWER_STORE_URL": postgres.url(password="wrong"),  # noqa: S106  # it is none
        "POWER_DATA_DIR": str(tmp_path),
        "POWER_WORKER_HTTP_PORT": "0",
        "POWER_HTTP_PORT": str(free_port()),
        "PYTHONPATH": str(ROOT),
    }
    command, environ = [sys.executable, "-P", "-m", module], {**os.environ, **settings}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "password authentication failed" in ended.stderr


# --- tables


def test_tables_are_made_once_though_several_workers_start_together(postgres: Postgres) -> None:
    stores = [PostgresStore(url) for url in [postgres.create()] * 4]
    errors: list[BaseException] = []

    def start(store: PostgresStore) -> None:
        try:
            store.check_writing()
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=start, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert errors == []
    for store in stores:
        store.check()
        store.close()


def test_who_only_reads_waits_for_the_tables(postgres: Postgres) -> None:
    url = postgres.create()
    assert what_is_wrong(url, Unavailable, reads=True).endswith("no tables yet; the worker makes them at its start")
    with closing(PostgresStore(url)) as store:
        store.check_writing()
        assert store.slots(1, Window()).kwh.tolist() == []


def test_older_tables_are_brought_forward_once_and_by_a_writer_only(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.create()
    owner = Owner(url)
    with closing(owner.store) as store:
        assert owner.record([reading(0)])
    made = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", made + 2)
    upgrades = {
        made: "ALTER TABLE pinned ADD COLUMN first text; CREATE TABLE a ()",
        made + 1: "ALTER TABLE a ADD COLUMN b text",
    }
    monkeypatch.setattr(schema, "UPGRADES", upgrades)
    assert "has older tables" in what_is_wrong(url, Unavailable, reads=True)
    for _ in range(2):
        with closing(PostgresStore(url)) as store:
            store.check_writing()
            assert store.read("SELECT first FROM pinned") == []
            assert store.read("SELECT b FROM a") == []
            assert_holds(store, [reading(0)])


def test_newer_tables_are_a_wrong_setting(postgres: Postgres) -> None:
    url = postgres.create()
    with closing(PostgresStore(url)) as store:
        store.check_writing()
    postgres.run("UPDATE power_schema SET version = 99", url=url)
    for reads in (False, True):
        assert what_is_wrong(url, InvalidSettings, reads=reads).endswith(
            f" has tables of version 99; this program knows {schema.VERSION}"
        )


# --- what is promised


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    """A primary and its standby."""
    with started(Postgres()) as primary, started(Postgres(standby_of=primary)) as standby:
        yield primary, standby


@pytest.mark.parametrize(
    ("settings", "promise"),
    [
        ({}, HERE),
        ({"synchronous_standby_names": "*"}, THERE),
        ({"synchronous_standby_names": "*", "synchronous_commit": "remote_apply"}, THERE),
        ({"synchronous_standby_names": "*", "synchronous_commit": "local"}, HERE),
        ({"synchronous_standby_names": "*", "synchronous_commit": "remote_write"}, "a standby has received it"),
        ({"synchronous_commit": "off"}, "synchronous_commit is off: the last moments before a crash"),
        ({"fsync": "off"}, "fsync is off: what is committed may not survive a crash"),
    ],
    ids=str,
)
def test_what_the_servers_settings_promise_is_told_at_the_start(
    pair: tuple[Postgres, Postgres], caplog: pytest.LogCaptureFixture, settings: dict[str, str], promise: str
) -> None:
    primary, _ = pair
    try:
        for name, value in settings.items():
            primary.run(f"ALTER SYSTEM SET {name} = '{value}'")
        primary.run("SELECT pg_reload_conf()")
        until(lambda: all(primary.run(f"SHOW {name}") == [(value,)] for name, value in settings.items()), "it is read")
        with closing(PostgresStore(primary.url())) as store, caplog.at_level(logging.INFO, "shared.store.postgres"):
            store.check_writing()
            store.pinned("a", "1")
            assert promise in store.promise
        assert [each.getMessage() for each in caplog.records] == [f"PostgreSQL at {HOST}: {store.promise}"]
        assert (caplog.records[0].levelno == logging.WARNING) == (" is off: " in promise)
    finally:
        primary.run("ALTER SYSTEM RESET ALL")
        primary.run("SELECT pg_reload_conf()")
        until(lambda: primary.run("SHOW synchronous_standby_names") == [("",)], "it is read")


def test_a_standby_answers_queries_and_takes_no_writes(pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    owner = Owner(primary.url())
    with closing(owner.store), closing(PostgresStore(primary.url(), standby.url())) as store:
        assert owner.record([reading(0), reading(10)])

        def is_there() -> bool:
            with suppress(Unavailable):
                return len(store.readings(1, 0, 2**60, 9)) == 2
            return False

        until(is_there, "the standby has it")
        assert_holds(store, [reading(0), reading(10)])
        assert store.promise == "it is a standby, which may be some moments behind"
    assert "read-only" in what_is_wrong(standby.url(), Unavailable)


def test_a_primary_that_becomes_read_only_is_waited_for(pair: tuple[Postgres, Postgres]) -> None:
    """As after a failover: the connection is still there."""
    primary, _ = pair
    owner = Owner(primary.url())
    with closing(owner.store) as store:
        assert owner.record([reading(20)])
        store.write("SELECT set_config('default_transaction_read_only', 'on', false)", ())
        assert not owner.record([reading(30)])
        assert owner.record([reading(30)]), "a new connection asks for a server that takes writes"
