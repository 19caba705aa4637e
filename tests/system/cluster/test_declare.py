"""`./power cluster` at a real RabbitMQ: what it makes, what it leaves alone, and what it says of what is wrong."""

from pathlib import Path

import pytest

from shared.contract.topology import EXCHANGE, QUEUE_ARGUMENTS, queue_name
from tests.support.cluster import PARTITIONS, Cluster
from tests.support.rabbitmq import PLUGINS, RabbitMq
from tests.support.servers import started


def test_it_tells_what_it_made_and_a_second_run_changes_nothing(undeclared: Cluster) -> None:
    first = undeclared.declare()
    assert first.returncode == 0, first.stderr
    for line in ("made the exchange", f"made {PARTITIONS} queues: readings.0 to readings.{PARTITIONS - 1}"):
        assert line in first.stdout.splitlines()
    assert "made the user gateway" in first.stdout or "set the rights of gateway" in first.stdout
    second = undeclared.declare()
    assert (second.stdout, second.returncode) == ("Nothing had to be changed.\n", 0)


def test_what_is_missing_is_made_and_a_changed_right_set_again(cluster: Cluster) -> None:
    """Queues that were deleted by hand are not bound in their place again, so nothing is said of those here."""
    vhost = cluster.vhost
    nothing = {"configure": "", "write": "", "read": ""}
    cluster.rabbitmq.api("PUT", f"/permissions/{vhost}/worker", nothing)
    cluster.rabbitmq.api("DELETE", f"/policies/{vhost}/power-readings")
    done = cluster.declare()
    assert done.stdout.splitlines() == ["set the policy power-readings", "set the rights of worker"]


def test_interrupted_declaration_is_completed(undeclared: Cluster) -> None:
    """It left two queues, one of them bound: the order of the bindings decides which ship is where."""
    vhost, api = undeclared.vhost, undeclared.rabbitmq.api
    api("PUT", f"/exchanges/{vhost}/{EXCHANGE}", {"type": "x-consistent-hash", "durable": True})
    for number in range(2):
        api("PUT", f"/queues/{vhost}/{queue_name(number)}", {"durable": True, "arguments": QUEUE_ARGUMENTS})
    api("POST", f"/bindings/{vhost}/e/{EXCHANGE}/q/{queue_name(0)}", {"routing_key": "1", "arguments": {}})
    done = undeclared.declare()
    assert done.returncode == 0, done.stderr
    assert f"made {PARTITIONS - 2} queues: readings.2 to readings.{PARTITIONS - 1}" in done.stdout
    assert f"made {PARTITIONS - 1} bindings: readings.1 to readings.{PARTITIONS - 1}" in done.stdout


@pytest.mark.parametrize("partitions", [PARTITIONS - 1, PARTITIONS + 1])
def test_another_number_of_partitions_is_refused(cluster: Cluster, partitions: int) -> None:
    done = cluster.declare(partitions)
    assert done.returncode == 1
    assert done.stderr.startswith(f"RabbitMQ has {PARTITIONS} partitions, not {partitions}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", sorted(QUEUE_ARGUMENTS))
def test_queue_with_another_argument_is_named(undeclared: Cluster, name: str) -> None:
    """Among them a delivery limit that was left at its default."""
    arguments = {key: value for key, value in QUEUE_ARGUMENTS.items() if key != name}
    if name == "x-queue-type":
        arguments = {"x-queue-type": "classic"}
    undeclared.rabbitmq.api(
        "PUT", f"/queues/{undeclared.vhost}/{queue_name(3)}", {"durable": True, "arguments": arguments}
    )
    done = undeclared.declare()
    assert done.returncode == 1
    assert done.stderr.startswith("readings.3 is in RabbitMQ already, with ")
    assert name in done.stderr
    assert done.stderr.count("\n") == 1


def test_wrong_login_is_one_line(undeclared: Cluster) -> None:
    url = undeclared.rabbitmq.url("http", undeclared.vhost, password="wrong")  # noqa: S106
    done = undeclared.declare(POWER_RABBITMQ_URL=url)
    assert done.returncode == 1
    assert "refuses the user: Not_Authorized; check POWER_RABBITMQ_URL" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "wrong" not in done.stderr


def test_server_that_is_not_there_is_one_line(undeclared: Cluster) -> None:
    done = undeclared.declare(POWER_RABBITMQ_URL="http://someone:secret@127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("RabbitMQ's management API at http://127.0.0.1:1 does not answer: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("url", ["", "127.0.0.1:15672", "http://127.0.0.1:15672", "amqp://a:b@127.0.0.1"])
def test_wrong_setting_is_one_line(undeclared: Cluster, url: str) -> None:
    done = undeclared.declare(POWER_RABBITMQ_URL=url)
    assert done.returncode == 1
    assert (
        done.stderr.startswith("POWER_RABBITMQ_URL should be an address")
        or "POWER_RABBITMQ_URL is empty" in done.stderr
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("plugin", PLUGINS[:2])
def test_missing_plugin_is_named_with_its_command(tmp_path: Path, plugin: str) -> None:
    others = tuple(each for each in PLUGINS if each != plugin)
    with started(RabbitMq(tmp_path, plugins=others)) as rabbitmq:
        done = Cluster(rabbitmq, "", tmp_path / "secrets").declare()
    assert done.returncode == 1
    expected = f"node a@localhost of RabbitMQ lacks the plugin {plugin}: run there `rabbitmq-plugins enable {plugin}`\n"
    assert done.stderr == expected


def test_status_is_a_line_for_each_partition(cluster: Cluster) -> None:
    rows = cluster.status()
    assert [row[:4] for row in rows] == [[str(number), "nobody", "0", "0"] for number in range(PARTITIONS)]


def test_status_without_partitions_says_what_to_run(undeclared: Cluster) -> None:
    done = undeclared.power("cluster", "status")
    assert (done.stdout, done.returncode) == ("RabbitMQ has no partitions yet: run ./power cluster declare\n", 0)
