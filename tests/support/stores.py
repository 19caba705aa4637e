"""The whole service on each store."""

import secrets
from pathlib import Path

import pytest

from tests.support.influxdb import InfluxDb
from tests.support.servers import Service

STORES = ["embedded", "influxdb"]


def service_on(request: pytest.FixtureRequest, folder: Path) -> Service:
    """Prepare a whole service on the store that a fixture has for its parameter, with a database of its own."""
    if request.param == "embedded":
        return Service(folder)
    influxdb: InfluxDb = request.getfixturevalue("influxdb")
    return Service(folder, store="influxdb", **influxdb.environ(f"service-{secrets.token_hex(4)}"))
