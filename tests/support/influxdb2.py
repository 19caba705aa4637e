"""A real InfluxDB 2.x, where the environment names its programs: set up by the script of docker-compose.yml.

Each store has a user of its own, with the rights of the worker of docker-compose.yml: to read and to write one bucket.
"""

import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import urllib3

from power_cli.init import make
from power_cli.up import ROOT
from shared.store.influx.server import Account
from tests.support.influxdb import InfluxDb
from tests.support.servers import HOST, free_port

SERVER, CLIENT = "POWER_TEST_INFLUXD", "POWER_TEST_INFLUX"
"""The variables that name `influxd` and `influx` of a 2.x."""
ORG, BUCKET = "power", "power"
"""What influxdb/start.sh creates."""
ENTRYPOINT = '#!/bin/sh\nexec "$@"\n'
USERS = "/private/legacy/authorizations"

Json = dict[str, Any]


def is_chosen() -> bool:
    """Tell whether the tests run on a 2.x."""
    return bool(os.environ.get(SERVER))


def new_influxdb(
    folder: Path, port: int | None = None, *, auth: bool = False, environ: Mapping[str, str] | None = None
) -> InfluxDb:
    """Prepare the InfluxDB of the tests: the 2.x that the environment names, or else a 1.x."""
    if is_chosen():
        return InfluxDb2(folder, port, environ=environ)
    return InfluxDb(folder, port, auth=auth, environ=environ)


def start_script(data: Path, secrets: Path, entrypoint: Path) -> str:
    """Return influxdb/start.sh with other paths than those of its container."""
    script = (ROOT / "influxdb" / "start.sh").read_text("utf-8")
    for inside, here in (("/var/lib/influxdb2", data), ("/run/secrets", secrets), ("/entrypoint.sh", entrypoint)):
        script = script.replace(inside, str(here))
    return script


class InfluxDb2(InfluxDb):
    """See `InfluxDb`. A database is a bucket, and it always asks who is there."""

    version = 2
    stops_at = signal.SIGINT
    """SIGTERM ends it as a crash does."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """See `InfluxDb`."""
        super().__init__(folder, port, environ=environ)
        self._setup_port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)
        self.admin = self.secret("influxdb_admin_token")
        self._http = urllib3.PoolManager(retries=False, headers={"Authorization": f"Token {self.admin}"})
        self._ids: dict[str, str] = {}

    def secret(self, name: str) -> str:
        """Return one of the secrets that `./power init` made."""
        return (self._folder / "secrets" / name).read_text("utf-8").strip()

    def command(self) -> list[str]:
        """Write what the container has beside the script, and give the command that starts it."""
        folder = self._folder.absolute()
        programs, data = folder / "bin", folder / "data"
        for each in (programs, data):
            each.mkdir(exist_ok=True)
        for name, variable in (("influxd", SERVER), ("influx", CLIENT)):
            (programs / name).unlink(missing_ok=True)
            (programs / name).symlink_to(_program(variable))
        entrypoint = programs / "entrypoint.sh"
        entrypoint.write_text(ENTRYPOINT, "utf-8")
        entrypoint.chmod(0o755)
        script = start_script(data, folder / "secrets", entrypoint).replace(
            "127.0.0.1:9999", f"{HOST}:{self._setup_port}"
        )
        settings = {
            "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
            "INFLUXD_HTTP_BIND_ADDRESS": f"{HOST}:{self.port}",
            "INFLUXD_BOLT_PATH": str(data / "influxd.bolt"),
            "INFLUXD_SQLITE_PATH": str(data / "influxd.sqlite"),
            "INFLUXD_ENGINE_PATH": str(data / "engine"),
            "INFLUXD_REPORTING_DISABLED": "true",
            "INFLUXD_LOG_LEVEL": "warn",
        }
        return ["env", *(f"{name}={value}" for name, value in settings.items()), "bash", "-c", script]

    def client(self) -> dict[str, str]:
        """Return the environment in which `influx` acts as the administrator."""
        folder = self._folder.absolute()
        return {
            "PATH": f"{folder / 'bin'}:{os.environ.get('PATH', os.defpath)}",
            "INFLUX_HOST": self.url,
            "INFLUX_TOKEN": self.admin,
            "INFLUX_CONFIGS_PATH": str(folder / "configs"),
        }

    def create(self, database: str) -> str:
        """See `InfluxDb`."""
        if database not in {BUCKET, *self._ids}:
            bucket = {"name": database, "orgID": self._org(), "retentionRules": []}
            self._ids[database] = self._ask("POST", "/api/v2/buckets", bucket)["id"]
        return database

    def drop(self, database: str) -> None:
        """See `InfluxDb`."""
        if database in self._ids:
            self._ask("DELETE", f"/api/v2/buckets/{self._ids.pop(database)}")

    def keep_days(self, database: str, days: int) -> None:
        """See `InfluxDb`."""
        rule = {"type": "expire", "everySeconds": days * 86_400, "shardGroupDurationSeconds": 86_400}
        self._ask("PATCH", f"/api/v2/buckets/{self._bucket(database)}", {"retentionRules": [rule]})

    def account(self, database: str) -> Account:
        """See `InfluxDb`; the bucket is created, as those of docker-compose.yml are before the worker starts."""
        if database == BUCKET:
            return Account(self.url, database, self.secret("influxdb_worker_token"))
        name, password = f"{database}-worker", f"the password of {database}"
        if f"user {name}" not in self._ids:
            self.add_user(name, password, database, may_write=True)
        return Account(self.url, database, f"{name}:{password}")

    def users(self) -> dict[str, str]:
        """See `InfluxDb`; influxdb/start.sh has created them."""
        tokens = {name: self.secret(f"influxdb_{name}_token") for name in ("worker", "query")}
        return tokens | {"grafana": f"grafana:{self.secret('influxdb_grafana_password')}"}

    def token(self, database: str) -> Account:
        """Return an account in a database that has an API token instead of a user."""
        answer = self._ask("POST", "/api/v2/authorizations", self._rights(self.create(database), may_write=True))
        return Account(self.url, database, answer["token"], ORG)

    def add_user(self, name: str, password: str, database: str = "", *, may_write: bool = False) -> None:
        """See `InfluxDb`; one without rights may read a bucket that nobody uses."""
        rights = self._rights(self.create(database or "nobody's"), may_write=may_write)
        answer = self._ask("POST", USERS, rights | {"token": name, "description": name})
        self._ids[f"user {name}"] = answer["id"]
        self.set_password(name, password)

    def set_password(self, name: str, password: str) -> None:
        """See `InfluxDb`."""
        self._ask("POST", f"{USERS}/{self._ids[f'user {name}']}/password", {"password": password})

    def _rights(self, database: str, *, may_write: bool) -> Json:
        resource = {"type": "buckets", "id": self._bucket(database), "orgID": self._org()}
        actions = ["read", "write"] if may_write else ["read"]
        return {"orgID": self._org(), "permissions": [{"action": each, "resource": resource} for each in actions]}

    def _bucket(self, database: str) -> str:
        if database not in self._ids:
            self._ids[database] = self._ask("GET", f"/api/v2/buckets?org={ORG}&name={database}")["buckets"][0]["id"]
        return self._ids[database]

    def _org(self) -> str:
        if "" not in self._ids:
            self._ids[""] = self._ask("GET", f"/api/v2/orgs?org={ORG}")["orgs"][0]["id"]
        return self._ids[""]

    def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        encoded = None if body is None else json.dumps(body).encode()
        response = self._http.request(
            method,
            f"{self.url}{path}",
            body=encoded,
            headers={**self._http.headers, "Content-Type": "application/json"},
        )
        assert response.status in {200, 201, 204}, response.data
        found: Json = json.loads(response.data) if response.data else {}
        return found


def _program(variable: str) -> Path:
    path = shutil.which(os.environ.get(variable, ""))
    if path is None:
        pytest.fail(f"{variable} names no program: InfluxDB 2.x needs `influxd` and `influx`")
    return Path(path).absolute()
