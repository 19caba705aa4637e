"""The whole service on RabbitMQ and PostgreSQL, with several workers, as `./power up --workers` runs it."""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from normalizer_worker.ledger.partition_letters import AllLetters
from shared.store.postgres.store import PostgresStore
from tests.support.cluster import PARTITIONS, Cluster
from tests.support.postgres import Postgres
from tests.support.rabbitmq import RabbitMq
from tests.support.servers import Service

WORKERS = 3


class ClusterService(Service):
    """Workers, gateway and query service; RabbitMQ and PostgreSQL are those of all tests."""

    def __init__(self, cluster: Cluster, folder: Path, store_url: str, workers: int = WORKERS, **environ: str) -> None:
        """Prepare one; what is declared in RabbitMQ has to be there before it starts."""
        urls = {"POWER_BROKER_URL": cluster.url("mqtt"), "POWER_AMQP_URL": cluster.url("amqp")}
        settings = {"POWER_STORE_URL": store_url, "POWER_PARTITIONS": str(PARTITIONS), **urls, **environ}
        super().__init__(folder, **settings)
        self.environ = settings
        self.cluster = cluster
        self._workers = workers
        self._store_url = store_url

    @contextmanager
    def dead_letters(self) -> Iterator[AllLetters]:
        """See `Service`."""
        with closing(PostgresStore(self._store_url)) as store:
            yield AllLetters(store)

    def command(self) -> list[str]:
        """See `Service`."""
        command = super().command()
        return [*command[: command.index("--store")], "--workers", str(self._workers)]


def cluster_on(rabbitmq: RabbitMq, postgres: Postgres, folder: Path) -> ClusterService:
    """Prepare one in a virtual host of its own."""
    vhost = f"service-{secrets.token_hex(4)}"
    rabbitmq.add_vhost(vhost)
    cluster = Cluster(rabbitmq, vhost, folder.parent / "secrets")
    cluster.make()
    service = ClusterService(cluster, folder, postgres.create())
    service.mqtt_port = rabbitmq.mqtt_port_of(vhost)
    return service
