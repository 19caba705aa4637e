"""The whole service on each store."""

import secrets
from pathlib import Path

import pytest

from tests.support.cluster_service import cluster_on
from tests.support.influxdb import InfluxDb
from tests.support.postgres import Postgres
from tests.support.servers import Service

STORES = ["embedded", "influxdb", "postgresql", "cluster"]


def service_on(request: pytest.FixtureRequest, folder: Path) -> Service:
    """Prepare a whole service on the store that a fixture has for its parameter, with a database of its own."""
    if request.param == "embedded":
        return Service(folder)
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        return Service(folder, store="postgresql", POWER_STORE_URL=postgres.create())
    if request.param == "cluster":
        return cluster_on(request.getfixturevalue("rabbitmq"), request.getfixturevalue("postgres"), folder)
    influxdb: InfluxDb = request.getfixturevalue("influxdb")
    return Service(folder, store="influxdb", **influxdb.environ(f"service-{secrets.token_hex(4)}"))
