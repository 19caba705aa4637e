"""A real RabbitMQ 4, started for the tests: one node, or several that form a cluster on this machine."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import urllib3

from power_cli import rabbitmq
from tests.support.programs import need
from tests.support.servers import HOST, free_port
from tests.support.waiting import until

USER = PASSWORD = "guest"  # noqa: S105  # RabbitMQ's own first user, who may log in from this machine only
PLUGINS = ("rabbitmq_mqtt", "rabbitmq_consistent_hash_exchange", "rabbitmq_management")
START_S = 90
SPARE_PORTS = 6
MAX_BYTES = 8_400_000
CONFIGURATION = f"""
listeners.tcp.1 = {HOST}:{{amqp_port}}
mqtt.listeners.tcp.1 = {HOST}:{{mqtt_port}}
management.tcp.ip = {HOST}
management.tcp.port = {{http_port}}
max_message_size = {MAX_BYTES}
mqtt.max_packet_size_authenticated = {MAX_BYTES}
mqtt.mailbox_soft_limit = 20000
cluster_partition_handling = pause_minority
log.console = true
log.console.level = warning
log.file = false
"""
PEER = "cluster_formation.classic_config.nodes.{number} = {name}\n"
# No node spins while it waits: the tests' other processes need the processors.
ERLANG = "-setcookie tests -kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"


class Node:
    """One node. As for any server, `pid` is its process."""

    def __init__(self, folder: Path, name: str, epmd_port: int) -> None:
        """Prepare one that keeps its state in a folder."""
        self.name = f"{name}@localhost"
        self.amqp_port, self.mqtt_port, self.http_port = free_port(), free_port(), free_port()
        self.spare_mqtt_ports = [free_port() for _ in range(SPARE_PORTS)]
        """For ships that log in without a name, each for a virtual host of its own."""
        self._dist_port, self._epmd_port = free_port(), epmd_port
        self._folder, self.log = folder / name, folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, peers: list[str], plugins: tuple[str, ...] = PLUGINS) -> None:
        """Write its configuration; with several peers it forms a cluster with them."""
        self._folder.mkdir(parents=True, exist_ok=True)
        ports = {"amqp_port": self.amqp_port, "mqtt_port": self.mqtt_port, "http_port": self.http_port}
        text = CONFIGURATION.format(**ports)
        for number, port in enumerate(self.spare_mqtt_ports, 2):
            text += f"mqtt.listeners.tcp.{number} = {HOST}:{port}\n"
        if len(peers) > 1:
            text += "cluster_formation.peer_discovery_backend = classic_config\n"
            text += "".join(PEER.format(number=number, name=name) for number, name in enumerate(peers, 1))
        (self._folder / "rabbitmq.conf").write_text(text, "utf-8")
        (self._folder / "enabled_plugins").write_text(f"[{', '.join(plugins)}].\n", "utf-8")

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, and do not wait; give its process."""
        command, seen = rabbitmq.command(need(rabbitmq.PACKAGE), self._folder, "rabbitmq-server")
        environ = {
            "HOME": str(seen),
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONFIG_FILE": f"{seen}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{seen}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{seen}/data",
            "RABBITMQ_LOG_BASE": f"{seen}/log",
            "RABBITMQ_PID_FILE": f"{seen}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
            "RUNNING_UNDER_SYSTEMD": "true",  # the script gives its process to the server
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return self._process

    def said(self) -> str:
        """Give its log."""
        return self.log.read_text("utf-8", "replace")

    def runs(self) -> bool:
        """Tell whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class RabbitMq:
    """A cluster of nodes; what is asked of it goes to the first one."""

    def __init__(self, folder: Path, nodes: int = 1, plugins: tuple[str, ...] = PLUGINS) -> None:
        """Prepare one that keeps its state in a folder."""
        self._folder, self._epmd_port = folder, free_port()
        self.nodes = [Node(folder, name, self._epmd_port) for name in "abcdefgh"[:nodes]]
        self._plugins = plugins
        self._of_ports: dict[str, str] = {}
        self._epmd: subprocess.Popen[bytes] | None = None
        self._http = urllib3.PoolManager(
            retries=False, headers=urllib3.make_headers(basic_auth=f"{USER}:{PASSWORD}"), timeout=urllib3.Timeout(30)
        )

    def start(self) -> None:
        """Start all nodes, and wait until each one serves and sees the others."""
        self.prepare()
        for node in self.nodes:
            node.start()
        self.await_whole()

    def prepare(self) -> None:
        """Write the configuration of all nodes, and start what they find each other by."""
        server = need(rabbitmq.PACKAGE)
        self._folder.mkdir(parents=True, exist_ok=True)
        # Nodes find each other by it. One that a node starts by itself would stay for ever.
        command, _ = rabbitmq.command(server, self._folder, _epmd(server), "-port", str(self._epmd_port))
        self._epmd = subprocess.Popen([*command, "-address", HOST], stdin=subprocess.DEVNULL)
        for node in self.nodes:
            node.configure([each.name for each in self.nodes], self._plugins)

    def await_whole(self) -> None:
        """Wait until each node serves and sees the others."""
        until(self._is_whole, f"RabbitMQ runs; see {self._folder}/*.log", START_S)

    def _is_whole(self) -> bool:
        for node in self.nodes:
            assert node.runs(), node.said()[-2000:]
        return all(self._is_up(node) for node in self.nodes)

    def _is_up(self, node: Node) -> bool:
        """Tell whether a node sees all others, and its last listener, which is that for MQTT, is there."""
        try:
            nodes = self._http.request("GET", f"http://{HOST}:{node.http_port}/api/nodes?columns=name,running")
            overview = self._http.request("GET", f"http://{HOST}:{node.http_port}/api/overview")
        except (urllib3.exceptions.HTTPError, OSError):
            return False
        if {nodes.status, overview.status} != {200} or sum(each["running"] for each in nodes.json()) < len(self.nodes):
            return False
        listening = {each["node"] for each in overview.json()["listeners"] if each["protocol"] == "mqtt"}
        return len(listening) == len(self.nodes) or "rabbitmq_mqtt" not in self._plugins

    def stop(self) -> None:
        """End all of it at once: nobody reads its files again."""
        for node in self.nodes:
            node.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None
        self._http.clear()

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the management API for something, which must go well."""
        url = f"http://{HOST}:{self.nodes[0].http_port}/api{path}"
        answer = self._http.request(method, url, json=body) if body is not None else self._http.request(method, url)
        assert answer.status < 300, answer.data
        return answer.json() if answer.data else None

    def add_vhost(self, name: str) -> None:
        """Make a virtual host, in which a test is alone."""
        self.api("PUT", f"/vhosts/{name}", {})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.api("PUT", f"/permissions/{name}/{USER}", everything)

    def mqtt_port_of(self, vhost: str) -> int:
        """Give a port at which clients without a name are in a virtual host."""
        port = self.nodes[0].spare_mqtt_ports[len(self._of_ports)]
        self._of_ports[str(port)] = vhost
        self.api("PUT", "/global-parameters/mqtt_port_to_vhost_mapping", {"value": self._of_ports})
        return port

    def drop_vhost(self, name: str) -> None:
        """Delete it with all that is in it."""
        self.api("DELETE", f"/vhosts/{name}")

    def url(self, scheme: str, vhost: str = "", user: str = USER, password: str = PASSWORD) -> str:
        """Give the address of all nodes: `amqp`, `mqtt` or `http` (the management API of the first one)."""
        ports = {"amqp": "amqp_port", "mqtt": "mqtt_port", "http": "http_port"}
        nodes = self.nodes[:1] if scheme == "http" else self.nodes
        hosts = ",".join(f"{HOST}:{getattr(node, ports[scheme])}" for node in nodes)
        return f"{scheme}://{user}:{password}@{hosts}{f'/{vhost}' if vhost else ''}"


def _epmd(server: str) -> str:
    root = rabbitmq.CACHE if Path(server).is_relative_to(rabbitmq.CACHE) else Path("/")
    return str(root / "usr" / "bin" / "epmd")
