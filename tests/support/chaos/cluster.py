"""A cluster under chaos: RabbitMQ of three nodes, PostgreSQL, two gateways, three workers."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from power_cli import rabbitmq
from power_cli.broker_users import password_name
from power_cli.declaring import Declaring
from power_cli.management import ManagementApi
from power_cli.programs import PROGRAMS, find
from power_cli.topology import GATEWAY, WORKER
from shared.domain.errors import Unavailable
from shared.runtime.management_url import parse
from tests.support.chaos.checker import InPostgres
from tests.support.chaos.faults import IN_GATEWAY
from tests.support.chaos.processes import OWNER, PostgresServer, RabbitMqNode, Victim, service
from tests.support.chaos.scene import Options, Scene
from tests.support.postgres import Postgres
from tests.support.rabbitmq import PASSWORD, USER, RabbitMq
from tests.support.waiting import until

NODES, GATEWAYS, WORKERS = 3, 2, 3
PARTITIONS = 12
FENCED = "has another owner"
"""What a worker says when it would have written as the owner that it no longer is."""


class ClusterScene(Scene):
    """A service on several machines, as far as one can be several."""

    def __init__(self, options: Options) -> None:
        """Prepare.

        Raises:
            Unavailable: a program is missing.

        """
        for program in PROGRAMS:
            if program.package in {rabbitmq.PACKAGE, "postgresql"} and find(*program.names) is None:
                raise Unavailable(f"{program.package} is missing: ./power test --install installs it")
        self._rabbitmq = RabbitMq(options.folder / "rabbitmq", NODES)
        super().__init__(options.folder, GATEWAYS, [node.mqtt_port for node in self._rabbitmq.nodes])
        self.mqtt_login = (USER, PASSWORD)
        self._postgres = Postgres()
        self._options, self._secrets = options, options.folder / "secrets"
        self.environ = {"POWER_STORE_URL": self._postgres.url()}
        self.stored = InPostgres(self._postgres.url())
        self._nodes = [RabbitMqNode(node) for node in self._rabbitmq.nodes]
        self._workers = [self._worker(number) for number in range(WORKERS)]
        gateways = [self._gateway(number, url) for number, url in enumerate(self.gateway_urls)]
        self.victims = [PostgresServer(self._postgres), *self._nodes, *self._workers, *gateways]
        self.query = service("query", "query_api", {**self.environ, **_port(self.query_url)}, options.folder)

    def _worker(self, number: int) -> Victim:
        environ = {
            **self.environ,
            "POWER_BROKER_URL_FILE": str(self._url_file("amqp", WORKER)),
            "POWER_PARTITIONS": str(PARTITIONS),
            "POWER_WORKER_HTTP_PORT": "0",
            "POWER_DATA_DIR": str(self.data / f"worker-{number}"),
        }
        fault = None if self._options.fault in IN_GATEWAY else self._options.fault
        return service(f"worker {number}", "normalizer_worker", environ, self._options.folder, fault, OWNER)

    def _gateway(self, number: int, url: str) -> Victim:
        environ = {
            "POWER_BROKER_URL_FILE": str(self._url_file("mqtt", GATEWAY)),
            "POWER_ALLOW_NEGATIVE": "true",
            "POWER_CONFLICT_WAIT_S": "2",
            "POWER_DATA_DIR": str(self.data / f"gateway-{number}"),
            **_port(url),
        }
        fault = self._options.fault if self._options.fault in IN_GATEWAY else None
        return service(f"gateway {number}", "ingest_api", environ, self._options.folder, fault)

    def _url_file(self, scheme: str, user: str) -> Path:
        return self._options.folder / f"{scheme}-of-{user}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """See `Scene`."""
        try:
            with super().running():
                yield
        finally:
            self._rabbitmq.stop()
            self._postgres.stop()

    def start(self) -> None:
        """Start the servers, declare what is needed in RabbitMQ, and start the services."""
        self._rabbitmq.prepare()
        servers, services = self.victims[: 1 + NODES], self.victims[1 + NODES :]
        for each in servers:
            each.start()
        self._rabbitmq.await_whole()
        until(self._postgres.answers, "PostgreSQL answers")
        declaring = Declaring(ManagementApi(parse(self._rabbitmq.url("http"))))
        declaring.topology(PARTITIONS)
        declaring.users(self._secrets)
        for scheme, user in (("amqp", WORKER), ("mqtt", GATEWAY)):
            password = (self._secrets / password_name(user)).read_text("utf-8").strip()
            self._url_file(scheme, user).write_text(self._rabbitmq.url(scheme, user=user, password=password), "utf-8")
        for each in (*services, self.query):
            each.start()

    def figures(self) -> Counter[str]:
        """See `Scene`."""
        said = "".join(each.log.read_text("utf-8", "replace") for each in self._workers)
        takeovers = self._postgres.run("SELECT sum(epoch)::bigint FROM fences")[0][0]
        return Counter({"partitions taken over": int(takeovers or 0), "transactions fenced off": said.count(FENCED)})


def _port(url: str) -> dict[str, str]:
    return {"POWER_HTTP_PORT": url.rpartition(":")[2]}
