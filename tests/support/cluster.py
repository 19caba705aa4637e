"""A virtual host of a RabbitMQ, declared for a test alone; and what is seen of it from outside."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

from pika import BlockingConnection, URLParameters
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import NackError

from power_cli.cluster_status import owners
from power_cli.declaring import Declaring
from power_cli.management import ManagementApi
from power_cli.up import ROOT
from shared.runtime.management_url import parse
from tests.support.rabbitmq import RabbitMq
from tests.support.waiting import until

PARTITIONS = 8


class Cluster:
    """The queues of one virtual host."""

    def __init__(self, rabbitmq: RabbitMq, vhost: str, secrets: Path) -> None:
        """Prepare; `declare` makes them."""
        self.rabbitmq, self.vhost, self.secrets = rabbitmq, vhost, secrets

    def url(self, scheme: str) -> str:
        """Give the address of the broker for a test that may do everything."""
        return self.rabbitmq.url(scheme, self.vhost)

    def power(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run one of the commands of `./power`."""
        settings = {"POWER_RABBITMQ_URL": self.url("http"), "PYTHONPATH": str(ROOT), **environ}
        command = [sys.executable, "-P", "-m", "power_cli", *arguments]
        return subprocess.run(
            command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False
        )

    def make(self) -> None:
        """Do what `declare` does, without a process."""
        declaring = Declaring(ManagementApi(parse(self.url("http"))))
        declaring.topology(PARTITIONS)
        declaring.users(self.secrets)

    def declare(self, partitions: int = PARTITIONS, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `./power cluster declare`."""
        options = ["--partitions", str(partitions), "--secrets", str(self.secrets)]
        return self.power("cluster", "declare", *options, **environ)

    def status(self) -> list[list[str]]:
        """Give the rows of `./power cluster status`: partition, owner and the others."""
        done = self.power("cluster", "status")
        assert done.returncode == 0, done.stderr
        return [line.split() for line in done.stdout.splitlines()[1:]]

    def owners(self) -> Counter[str]:
        """Tell how many partitions each worker receives."""
        return Counter(owners(ManagementApi(parse(self.url("http")))).values())

    def await_owners(self, holds: Callable[[Counter[str]], bool], what: str, deadline_s: float = 30) -> None:
        """Wait until the owners are as they should be."""
        until(lambda: holds(self.owners()), what, deadline_s)

    def publish(self, ship: int, *payloads: bytes) -> None:
        """Publish messages as RabbitMQ has them from MQTT."""
        with BlockingConnection(URLParameters(self.url("amqp"))) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for payload in payloads:
                until(partial(_is_taken, channel, f"ships.{ship}.readings", payload), "RabbitMQ takes a message")

    def end_connection(self, worker: str) -> None:
        """Have RabbitMQ do at once what it does after missed heartbeats of a worker, whose name ends with `worker`."""

        def found() -> str | None:
            there = self.rabbitmq.api("GET", f"/vhosts/{self.vhost}/connections")
            ours = [each for each in there if each["client_properties"].get("connection_name", "").endswith(worker)]
            return ours[0]["name"] if ours else None

        self.rabbitmq.api("DELETE", f"/connections/{quote(until(found, 'the connection'), safe='')}")


def _is_taken(channel: BlockingChannel, key: str, payload: bytes) -> bool:
    try:
        channel.basic_publish("amq.topic", key, payload)
    except NackError:  # after a restart a queue has no leader for a moment
        return False
    return True


def is_even(owners: Counter[str], workers: int, partitions: int = PARTITIONS) -> bool:
    """Tell whether so many workers have all partitions, no one more than one more than another."""
    counts: Sequence[int] = list(owners.values())
    return len(counts) == workers and sum(counts) == partitions and max(counts) - min(counts) <= 1
