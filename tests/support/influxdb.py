"""A real InfluxDB 1.6 or later, started for the tests."""

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from shared.store.influx.server import Account
from tests.support.programs import need
from tests.support.servers import HOST, free_port
from tests.support.waiting import until

ADMIN, PASSWORD = "admin", "a-password-for-tests"
START_S = 60.0
"""The first start of a 2.x sets it up."""
NOT_HERE = (urllib3.exceptions.HTTPError, OSError)

CONFIGURATION = """
reporting-disabled = true
bind-address = "{host}:{backup_port}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "{index}"
  query-log-enabled = false
[http]
  bind-address = "{host}:{port}"
  auth-enabled = {auth}
  log-enabled = false
[monitor]
  store-enabled = false
[continuous_queries]
  enabled = false
[subscriber]
  enabled = false
[logging]
  level = "warn"
"""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: its measurement, its tags, and its columns by name."""

    name: str
    tags: Mapping[str, str]
    columns: Mapping[str, list[Any]]


def influxd_program() -> str:
    """Give the path of InfluxDB; without it, skip on a laptop and fail in CI."""
    return need("influxdb")


class InfluxDb:
    """A real InfluxDB 1.x, with its defaults where they matter: what it has answered is on disk."""

    version = 1
    stops_at = signal.SIGTERM
    admin = f"{ADMIN}:{PASSWORD}"
    """The token of the administrator, where it asks for one."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        auth: bool = False,
        index: str = "inmem",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare one that keeps its state in a folder.

        Args:
            folder: where.
            port: which to listen on; a free one where it is left out.
            auth: whether it asks for `ADMIN` and `PASSWORD`.
            index: how it keeps its series.
            environ: more of its settings, as variables of its environment.

        """
        self.port, self.backup_port = port or free_port(), free_port()
        self.log = folder / "influxd.log"
        self._folder, self._auth, self._index = folder, auth, index
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._http = urllib3.PoolManager(
            retries=False, headers=urllib3.make_headers(basic_auth=self.admin) if auth else None
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    def command(self) -> list[str]:
        """Write its configuration, and give the command that starts it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "influxdb.conf"
        text = CONFIGURATION.format(
            host=HOST,
            port=self.port,
            backup_port=self.backup_port,
            folder=self._folder.absolute(),
            index=self._index,
            auth=str(self._auth).lower(),
        )
        configuration.write_text(text, "utf-8")
        return [influxd_program(), "-config", str(configuration)]

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = self.command()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environ, stdout=log, stderr=log)
        until(self.answers, f"InfluxDB answers; see {self.log}", START_S)
        if self._auth:  # the first user may be made by anybody; made again, as after a restart, it stays what it is
            self.query(f"CREATE USER {ADMIN} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES")

    def answers(self) -> bool:
        """Tell whether it answers now."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text("utf-8")
        try:
            return self._http.request("GET", f"{self.url}/ping", timeout=0.5).status == 204
        except NOT_HERE:
            return False

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to it, such as SIGSTOP and SIGCONT."""
        os.kill(self.pid, number)

    def stop(self) -> int:
        """Stop it, if it runs, and give its exit status."""
        return self._end(self.stops_at)

    def kill(self) -> None:
        """End it at once, if it runs, with no chance to write anything down."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        self._http.clear()
        status = 0
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)  # a stopped process ends only when it goes on
            status = self._process.wait(20)
            self._process = None
        return status

    def create(self, database: str) -> str:
        """Make a database, if it is not there yet, and give its name."""
        self.query(f'CREATE DATABASE "{database}"')
        return database

    def drop(self, database: str) -> None:
        """Drop a database with all that is in it."""
        self.query(f'DROP DATABASE "{database}"')

    def keep_days(self, database: str, days: int) -> None:
        """Have a database delete what is older."""
        self.query(f'ALTER RETENTION POLICY autogen ON "{database}" DURATION {days}d SHARD DURATION 1d DEFAULT')

    def account(self, database: str) -> Account:
        """Return the account of a worker in a database."""
        return Account(self.url, database)

    def environ(self, database: str) -> dict[str, str]:
        """Return the settings of services whose store is a database."""
        account = self.account(database)
        settings = {"INFLUXDB_URL": account.url, "INFLUXDB_BUCKET": account.bucket}
        return {**settings, "INFLUXDB_TOKEN": account.token} if account.token else settings

    def users(self) -> dict[str, str]:
        """Return `user:password` of the users of docker-compose.yml, in the database `power`."""
        self.create("power")
        passwords = {name: f"the-{name}-password" for name in ("worker", "query", "grafana")}
        for name, password in passwords.items():
            self.add_user(name, password, "power", may_write=name == "worker")
        return {name: f"{name}:{password}" for name, password in passwords.items()}

    def add_user(self, name: str, password: str, database: str = "", *, may_write: bool = False) -> None:
        """Create a user that may read a database, and perhaps write to it; without a database, one without rights."""
        self.query(f"CREATE USER \"{name}\" WITH PASSWORD '{password}'")
        if database:
            self.query(f'GRANT {"ALL" if may_write else "READ"} ON "{database}" TO "{name}"')

    def set_password(self, name: str, password: str) -> None:
        """Change a user's password."""
        self.query(f"SET PASSWORD FOR \"{name}\" = '{password}'")

    def write(self, database: str, lines: Iterable[str], precision: str = "s") -> None:
        """Write points, as line protocol."""
        url = f"{self.url}/write?db={database}&precision={precision}"
        response = self._http.request("POST", url, body="\n".join(lines).encode())
        assert response.status == 204, response.data

    def query(self, influxql: str, database: str = "", epoch: str = "s") -> list[Series]:
        """Run one InfluxQL statement and give its series; it must be a good one."""
        fields = {"q": influxql, "db": database, "epoch": epoch}
        response = self._http.request("POST", f"{self.url}/query", fields=fields, encode_multipart=False)
        assert response.status == 200, response.data
        (result,) = json.loads(response.data).get("results", [{}])  # 2.x has none for what is done
        assert "error" not in result, f"{influxql}: {result['error']}"
        return [_series(each) for each in result.get("series", [])]


def _series(answer: dict[str, Any]) -> Series:
    rows = answer.get("values", [])
    columns = {name: [row[i] for row in rows] for i, name in enumerate(answer["columns"])}
    return Series(answer.get("name", ""), answer.get("tags", {}), columns)
