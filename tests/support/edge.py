"""The services services, each in a process of its own, and nginx in front of them as docker-compose.yml sets it up."""

import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import urllib3

from power_cli.up import ROOT
from tests.support.programs import need
from tests.support.servers import HOST, free_port
from tests.support.waiting import until

TEMPLATE = ROOT / "edge" / "nginx.conf.template"


STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""Debian's nginx loads it; the image's has it built in."""


def nginx_program() -> str:
    """Give the path of nginx; without it, skip on a laptop and fail in CI."""
    return need("nginx")


def turned_away(crowd: Sequence[socket.socket]) -> int:
    """Count the connections that nginx has closed; none of them is sent anything.

    Which ones these are is not sure: nginx has several processes, and each accepts connections in its own time.
    """
    readable, _, _ = select.select(crowd, [], [], 0)
    return sum(_is_closed(each) for each in readable)


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except ConnectionResetError:
        return True


class Services:
    """Gateway, worker and query service, each by itself."""

    def __init__(self, data: Path, mqtt_port: int, **environ: str) -> None:
        """Prepare them; `environ` adds settings for all three."""
        self.ports = {name: free_port() for name in ("normalizer_worker", "ingest_api", "query_api")}
        self._environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "POWER_DATA_DIR": str(data),
            "POWER_MQTT_PORT": str(mqtt_port),
            **environ,
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start one and wait until it is ready."""
        port = str(self.ports[name])
        environ = {**self._environ, "POWER_HTTP_PORT": port, "POWER_WORKER_HTTP_PORT": port}
        self._processes[name] = subprocess.Popen([sys.executable, "-P", "-m", name], env=environ)
        until(lambda: _status(self.ports[name], "/readyz") == 200, f"{name} is ready")

    def stop(self, name: str) -> None:
        """Stop one."""
        process = self._processes.pop(name)
        process.terminate()
        assert process.wait(20) == 0

    def stop_all(self) -> None:
        """Stop all that run."""
        for name in list(self._processes):
            self.stop(name)


class Edge:
    """nginx with the project's own configuration."""

    def __init__(self, folder: Path, ports: Mapping[str, int], **environ: str) -> None:
        """Prepare one in front of the ports of the services, by their names; `environ` changes settings."""
        self.port, self.tls_port, self.mqtt_port = free_port(), free_port(), free_port()
        self.errors = folder / "errors.log"
        self.log = folder / "access.log"
        self._folder = folder
        self._settings = {
            "POWER_EDGE_LISTEN": f"{HOST}:{self.port}",
            "POWER_EDGE_TLS_LISTEN": f"{HOST}:{self.tls_port}",
            "POWER_EDGE_MQTT_LISTEN": f"{HOST}:{self.mqtt_port}",
            "POWER_EDGE_MQTTS_LISTEN": f"{HOST}:{free_port()}",
            "POWER_EDGE_SOCKETS": str(folder),
            "POWER_EDGE_MQTT": f"{HOST}:1",
            "POWER_EDGE_MQTTS": f"{HOST}:1",
            "POWER_EDGE_INGEST": f"{HOST}:{ports['ingest_api']}",
            "POWER_EDGE_QUERY": f"{HOST}:{ports['query_api']}",
            "POWER_EDGE_UNKNOWN": "404",
            "POWER_EDGE_WORKER": f"{HOST}:{ports['normalizer_worker']}",
            "POWER_EDGE_RESOLVER": HOST,
            "POWER_EDGE_INCLUDE": str(folder / "more" / "*.conf"),
            "POWER_EDGE_RATE": "1000r/s",
            "POWER_EDGE_BURST": "1000",
            "POWER_EDGE_CONNECTIONS": "64",
            "POWER_EDGE_OPEN": "256",
            "POWER_EDGE_MQTT_CONNECTIONS": "256",
            "POWER_EDGE_MQTT_RATE": "128k",
            "POWER_EDGE_PROXY": "255.255.255.255",
            **environ,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._http = urllib3.PoolManager(retries=False, cert_reqs="CERT_NONE", assert_hostname=False)

    def start(self) -> None:
        """Start it and wait until it answers."""
        configuration = self._folder / "nginx.conf"
        configuration.write_text(_filled_in(TEMPLATE.read_text("utf-8"), self._settings), "utf-8")
        # As root, nginx would give up its rights, and with them the test's folder.
        also = "daemon off;" + (" user root;" if os.getuid() == 0 else "")
        if STREAM_MODULE.exists():
            also += f" load_module {STREAM_MODULE};"
        command = [nginx_program(), "-p", str(self._folder), "-c", str(configuration), "-g", also]
        with self.log.open("wb") as log, self.errors.open("wb") as errors:
            self._process = subprocess.Popen(command, stdout=log, stderr=errors)
        until(lambda: _status(self.port, "/healthz") == 200, "nginx answers")

    def stop(self) -> None:
        """Stop it."""
        self._http.clear()
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(20) == 0
            self._process = None

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Send one request."""
        url = f"http://{HOST}:{self.port}{path}"
        return self._http.request(method, url, body=body, headers=headers, timeout=urllib3.Timeout(60))

    def raw(self, sent: bytes) -> bytes:
        """Send bytes, and give all that comes back until the connection is closed."""
        with socket.create_connection((HOST, self.port), timeout=20) as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: connection.recv(65536), b""))


def _filled_in(template: str, settings: Mapping[str, str]) -> str:
    """Do what the image does with envsubst, for these names only: nginx has variables of its own."""
    return re.sub(r"\$\{(POWER_\w+)\}", lambda found: settings[found[1]], template)


def _status(port: int, path: str) -> int | None:
    try:
        return urllib3.request("GET", f"http://{HOST}:{port}{path}", retries=False, timeout=2).status
    except urllib3.exceptions.HTTPError:
        return None
