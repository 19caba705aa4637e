"""`./power init`: creates what docker-compose.yml needs besides the repository: `.env` and random secrets.

With `--cluster`, what docker-compose.cluster.yml needs.
"""

import os
import secrets
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from power_cli import init_cluster
from power_cli.broker_users import FILES, files_from_passwords, missing_passwords
from power_cli.environment_file import SERVICES
from power_cli.tokens import SECRET_BYTES, token_of
from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings
from shared.http.tokens import Role, dump

SECRETS = {
    "influxdb_admin_password": "",
    "influxdb_admin_token": "",
    "influxdb_worker_token": "worker:",
    "influxdb_query_token": "query:",
    "influxdb_grafana_password": "",
    "grafana_admin_password": "",
    "grafana_secret_key": "",
}
"""The files, and the text before the random part: the user name of a login with a password."""
API_TOKENS: dict[str, tuple[str, Role]] = {
    "api_admin_token": ("admin", "admin"),
    "prometheus_token": ("prometheus", "read"),
}
"""The files of the first access tokens, with their names and roles."""
_CLUSTER = "docker-compose.cluster.yml"
READABLE = 0o644
"""The mode of a secret's file; docker-compose.yml says why. The folder is for its owner alone."""
ENVIRONMENT = """\
# The variables of docker-compose.yml. Created by ./power init. After a change, run docker compose up -d.
COMPOSE_PROJECT_NAME=power

# HTTP, MQTT and Grafana without TLS. Keep them on this machine: on a network, others could read everything that is
# sent, including access tokens and passwords.
POWER_BIND_ADDRESS=127.0.0.1
POWER_PORT=5000
POWER_MQTT_PORT=1883
POWER_GRAFANA_PORT=3000

# The same with TLS, for everyone. Nothing listens there until there is a certificate: docs/deploy.md.
POWER_TLS_BIND_ADDRESS=0.0.0.0
POWER_TLS_PORT=5443
POWER_MQTTS_PORT=8883

# Limits for one address over HTTP: requests per second, burst, requests in progress, and open connections (also idle
# ones).
POWER_EDGE_RATE=100r/s
POWER_EDGE_BURST=200
POWER_EDGE_CONNECTIONS=64
POWER_EDGE_OPEN=256
# Limits for one address over MQTT: open connections, and bytes per second and connection.
POWER_EDGE_MQTT_CONNECTIONS=256
POWER_EDGE_MQTT_RATE=128k
# The address or network of a proxy before the edge whose X-Forwarded-For is trusted; this value trusts none.
POWER_EDGE_PROXY=255.255.255.255
# The name server that resolves the services for the edge: Docker's, or that of another engine.
POWER_EDGE_RESOLVER=127.0.0.11

# Memory and CPU limits of each container; docs/deploy.md says what they need.
POWER_MOSQUITTO_MEMORY=2g
POWER_MOSQUITTO_CPUS=1
POWER_INFLUXDB_MEMORY=2g
POWER_INFLUXDB_CPUS=1
"""
NEXT = """\
Next, with the engine running:

  docker compose up -d --wait
  export POWER_API_TOKEN=$(cat secrets/api_admin_token)
  ./power simulate --ships 5 --days 2
  echo "Authorization: Bearer $POWER_API_TOKEN" | curl -H @- http://127.0.0.1:5000/topusers

  Grafana   http://127.0.0.1:3000, user admin, password in secrets/grafana_admin_password
  a token   ./power token add --role ingest --file secrets/api/tokens.jsonl
  a ship    ./power ship add 7

docs/deploy.md goes on from there.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--cluster", action="store_true", help="for docker-compose.cluster.yml: docs/cluster.md")


def run(arguments: Namespace) -> int:
    """Create what is missing, and print what to do next."""
    made = make(ROOT, cluster=arguments.cluster)
    for path in made:
        sys.stdout.write(f"created  {path.relative_to(ROOT)}\n")
    if not made:
        sys.stdout.write("Everything exists already; nothing was changed.\n")
    sys.stdout.write(f"\n{init_cluster.NEXT if arguments.cluster else NEXT}")
    return 0


def make(root: Path, *, cluster: bool = False) -> list[Path]:
    """Create `.env` and the secrets below a folder where they are missing; return the new files.

    Raises:
        InvalidSettings: a file cannot be written, or `.env` is that of the other kind.

    """
    folder, tokens = root / "secrets", root / "secrets" / "api" / "tokens.jsonl"
    try:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
        before = _files(root)
        environment = (init_cluster.ENVIRONMENT if cluster else ENVIRONMENT) + SERVICES
        _refuse_other_kind(root / ".env", environment)
        _refuse_folders(folder, init_cluster.FILES if cluster else (*FILES, *SECRETS))
        if cluster:
            for name, text in init_cluster.secret_files(folder).items():
                _write_new(folder / name, f"{text}\n")
        else:
            _make_brokers(folder)
            for name, user in SECRETS.items():
                _write_new(folder / name, f"{user}{secrets.token_hex(SECRET_BYTES)}\n")
        if not tokens.exists():  # else a removed token would come back
            _make_tokens(folder, tokens)
        _write_new(root / ".env", environment)
        return sorted(_files(root) - before)
    except OSError as error:
        raise InvalidSettings(f"cannot write {error.filename or folder}: {error.strerror}") from None


def _files(root: Path) -> set[Path]:
    return {path for path in (root / ".env", *(root / "secrets").rglob("*")) if path.is_file()}


def _refuse_other_kind(file: Path, environment: str) -> None:
    """Refuse a checkout that the other kind of deployment uses: both would have the same volumes and ports."""
    if file.exists() and (_CLUSTER in file.read_text("utf-8")) != (_CLUSTER in environment):
        kind = "one server" if _CLUSTER in environment else "a cluster"
        raise InvalidSettings(f"{file} is that of {kind}: use another checkout, or remove it")


def _refuse_folders(folder: Path, names: tuple[str, ...]) -> None:
    """Refuse folders in the place of secrets: Compose creates them when it mounts a file that does not exist."""
    for path in sorted(folder / name for name in (*names, *API_TOKENS)):
        if path.is_dir():
            raise InvalidSettings(f"{path} is a folder but should be a file: remove it, and run this again")


def _make_brokers(folder: Path) -> None:
    """Create the broker's passwords, then the files that contain them or their hashes."""
    for generate in (missing_passwords, files_from_passwords):
        existing = {name: (folder / name).read_text("utf-8") for name in FILES if (folder / name).exists()}
        for name, content in generate(existing).items():
            _write_new(folder / name, content)


def _make_tokens(folder: Path, file: Path) -> None:
    """Create the first access tokens; the file with their hashes is written last, as a sign of completion."""
    file.parent.mkdir(exist_ok=True)
    file.parent.chmod(0o755)
    tokens = []
    for name, (title, role) in API_TOKENS.items():
        _write_new(folder / name, f"{secrets.token_urlsafe(SECRET_BYTES)}\n")
        tokens.append(token_of((folder / name).read_text("utf-8").strip(), title, role))
    _write_new(file, dump(tokens))


def _write_new(path: Path, content: str) -> None:
    """Create a file atomically; an existing file is left as it is."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(content, "utf-8")
        part.chmod(READABLE)
        path.hardlink_to(part)  # unlike a rename, it never replaces a file
    except FileExistsError:
        pass
    finally:
        part.unlink(missing_ok=True)
