"""`./power init --cluster`: what docker-compose.cluster.yml needs besides the repository."""

from pathlib import Path
from secrets import token_hex

from power_cli.broker_users import SECRET_BYTES, new_password, password_name
from power_cli.topology import USERS

ADMIN_URL = "rabbitmq_admin_url"
"""The file with the address of RabbitMQ's management API as containers see it, and its administrator's password."""
WORKER_URL = "amqp_worker_url"
SECRETS = {
    ADMIN_URL: "http://admin:{}@rabbitmq:15672",
    "rabbitmq_erlang_cookie": "{}",
    "postgres_admin_password": "{}",
    "postgres_replication_password": "{}",
    "postgres_worker_url": "postgresql://worker:{}@postgres1,postgres2/power",
    "postgres_query_url": "postgresql://query:{}@postgres1,postgres2/power?target_session_attrs=primary",
    "postgres_grafana_password": "{}",
    "grafana_admin_password": "{}",
    "grafana_secret_key": "{}",
}
"""The files, and where in them the random part is."""
FILES = (*SECRETS, WORKER_URL, *map(password_name, USERS))
ENVIRONMENT = """\
# The variables of docker-compose.cluster.yml. Created by ./power init --cluster. After a change, run docker compose
# up -d.
COMPOSE_FILE=docker-compose.cluster.yml
COMPOSE_PROJECT_NAME=power-cluster

# HTTP, MQTT, RabbitMQ's pages and Grafana without TLS. Keep them on this machine: on a network, others could read
# everything that is sent, including access tokens and passwords.
POWER_BIND_ADDRESS=127.0.0.1
POWER_PORT=5000
POWER_MQTT_PORT=1883
POWER_RABBITMQ_PORT=15672
POWER_GRAFANA_PORT=3000

# HTTP and MQTT with TLS, for everyone. Nothing listens there until there is a certificate: docs/deploy.md.
POWER_TLS_BIND_ADDRESS=0.0.0.0
POWER_TLS_PORT=5443
POWER_MQTTS_PORT=8883

# The number of queues that the ships are spread over. It can never be changed.
POWER_PARTITIONS=64

# For how many seconds a POST with a batch_id waits for its receipt: another gateway may know it for other content.
POWER_CONFLICT_WAIT_S=2

# The limits of the edge, as for docker-compose.yml: docs/deploy.md.
POWER_EDGE_RATE=100r/s
POWER_EDGE_BURST=200
POWER_EDGE_CONNECTIONS=64
POWER_EDGE_OPEN=256
POWER_EDGE_MQTT_CONNECTIONS=256
POWER_EDGE_MQTT_RATE=128k
POWER_EDGE_PROXY=255.255.255.255
POWER_EDGE_RESOLVER=127.0.0.11

# Memory and CPU limits of each container: docs/cluster.md, "Sizing".
POWER_RABBITMQ_MEMORY=1536m
POWER_RABBITMQ_CPUS=1
POWER_POSTGRES_MEMORY=2g
POWER_POSTGRES_CPUS=1
"""
NEXT = """\
Next, with the engine running:

  docker compose up -d --wait
  export POWER_API_TOKEN=$(cat secrets/api_admin_token)
  ./power simulate --ships 5 --days 2
  ./power cluster status

  Grafana   http://127.0.0.1:3000, user admin, password in secrets/grafana_admin_password
  a token   ./power token add --role ingest --file secrets/api/tokens.jsonl
  a ship    ./power ship add 7

docs/cluster.md goes on from there.
"""


def secret_files(folder: Path) -> dict[str, str]:
    """Return names and contents for all secrets; `folder` has those that exist already."""
    passwords = {user: _existing(folder / password_name(user)) or new_password() for user in USERS}
    made = {name: text.format(token_hex(SECRET_BYTES)) for name, text in SECRETS.items()}
    made |= {password_name(user): password for user, password in passwords.items()}
    made[WORKER_URL] = f"amqp://worker:{passwords['worker']}@rabbitmq1,rabbitmq2,rabbitmq3"
    return made


def _existing(file: Path) -> str:
    return file.read_text("utf-8").strip() if file.exists() else ""
