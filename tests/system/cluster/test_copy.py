"""`./power copy` into the store of a cluster: each ship gets the partition that RabbitMQ gives it."""

import subprocess
from functools import partial
from pathlib import Path

import pytest
from pika import BlockingConnection, URLParameters

from power_cli.copying.routing import partitions_of
from shared.contract.topology import queue_name
from shared.runtime.broker_url import parse
from tests.support.cluster import PARTITIONS, Cluster
from tests.support.filled import contents, fill_fleet
from tests.support.partitioned import Workers
from tests.support.postgres import Postgres
from tests.support.waiting import until

SHIPS = 60


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A filled store."""
    fill_fleet(tmp_path / "old", SHIPS)
    return f"sqlite:{tmp_path}/old"


def copy(cluster: Cluster, source: str, target: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return cluster.power("copy", "--from", source, "--to", target, *options, **environ)


def routed(cluster: Cluster) -> dict[int, int]:
    """Publish for each ship, and see in which partition's queue the message is."""
    for ship in range(SHIPS):
        cluster.publish(ship, str(ship).encode())
    found: dict[int, int] = {}
    with BlockingConnection(URLParameters(cluster.url("amqp"))) as connection:
        channel = connection.channel()

        def came(number: int, _c: object, _m: object, _p: object, body: bytes) -> None:
            found[int(body)] = number

        for number in range(PARTITIONS):
            channel.basic_consume(queue_name(number), partial(came, number))

        def are_here() -> bool:
            connection.process_data_events(1)
            return len(found) == SHIPS

        until(are_here, "all messages are here")
    return found


def test_ships_get_the_partitions_of_their_queues(cluster: Cluster, postgres: Postgres, old: str) -> None:
    url = postgres.create()
    for copied in (SHIPS * 30, 0):
        done = copy(cluster, old, url, "--broker", cluster.url("amqp"), POWER_PARTITIONS=str(PARTITIONS))
        assert done.returncode == 0, done.stderr
        assert f"{SHIPS} ships, {copied:,} readings copied" in done.stdout
    stored = dict(postgres.run("SELECT ship, partition FROM ships", url=url))
    assert len(set(stored.values())) > 1
    assert stored == routed(cluster)
    for was, now in zip(contents(old, 7), contents(url, 7), strict=True):
        assert list(was.rows()) == list(now.rows())


def test_the_probes_leave_nothing_behind(cluster: Cluster) -> None:
    def there() -> set[str]:
        kinds = ("queues", "exchanges")
        return {each["name"] for kind in kinds for each in cluster.rabbitmq.api("GET", f"/{kind}/{cluster.vhost}")}

    before = there()
    assert len(partitions_of(parse(cluster.url("amqp")), None, PARTITIONS, range(2500))) == 2500
    assert there() == before


def test_each_thing_that_is_missing_is_one_line(cluster: Cluster, postgres: Postgres, old: str) -> None:
    url, of_p = postgres.create(), {"POWER_PARTITIONS": str(PARTITIONS)}
    broker, mqtt = (("--broker", cluster.url(each)) for each in ("amqp", "mqtt"))
    nobody = ("--broker", cluster.url("amqp").replace("guest:guest", "guest:wrong"))
    for options, environ, said in (
        ((), {}, "has 64 partitions; each ship gets the partition that RabbitMQ gives it: name RabbitMQ with --broker"),
        (mqtt, of_p, "name RabbitMQ with --broker amqp://"),
        (broker, {}, "RabbitMQ has not 64 partitions"),
        (nobody, of_p, "refuses the login"),
        (("--broker", "amqp://127.0.0.1:1"), of_p, "no RabbitMQ at 127.0.0.1:1"),
    ):
        done = copy(cluster, old, url, *options, **environ)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    assert postgres.run("SELECT count(*) FROM readings", url=url) == [(0,)]
    assert postgres.run("SELECT count(*) FROM pinned WHERE name = 'POWER_PARTITIONS'", url=url) == [(0,)]


def test_workers_at_work_are_not_disturbed(cluster: Cluster, workers: Workers, postgres: Postgres, old: str) -> None:
    workers.start()
    done = copy(cluster, old, postgres.create(), "--broker", cluster.url("amqp"), POWER_PARTITIONS=str(PARTITIONS))
    assert done.returncode == 1
    assert done.stderr == "workers of the cluster are at work: stop them first, and start them after the copy\n"


def test_a_user_without_rights_is_told(cluster: Cluster, postgres: Postgres, old: str) -> None:
    password = (cluster.secrets / "mqtt_worker_password").read_text("utf-8").strip()
    url = cluster.url("amqp").replace("guest:guest", f"worker:{password}")
    done = copy(cluster, old, postgres.create(), "--broker", url, POWER_PARTITIONS=str(PARTITIONS))
    assert done.returncode == 1
    assert "--broker needs a user with all rights" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
