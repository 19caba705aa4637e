"""A store in an InfluxDB that asks who is there: each service comes as a user, with no more rights than it needs."""

from collections.abc import Iterator

import pytest

from shared.errors import InvalidSettings
from shared.store.influx_server import Account, Server
from tests.support.influxdb import InfluxDb

LINES = ["energy,ship=7 kwh=1.5 1535068800000000000"]


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDb]:
    """An InfluxDB with a user that may write and read, and one that may read."""
    influxdb = InfluxDb(tmp_path_factory.mktemp("influxdb"), auth=True)
    influxdb.start()
    influxdb.create("power")
    for user, right in (("worker", "ALL"), ("query", "READ")):
        influxdb.query(f"CREATE USER \"{user}\" WITH PASSWORD 'the-{user}-password'")
        influxdb.query(f'GRANT {right} ON power TO "{user}"')
    yield influxdb
    influxdb.stop()


def _server(asking: InfluxDb, token: str) -> Server:
    return Server(Account(asking.url, "power", token))


def test_a_user_and_its_password_stand_in_the_token(asking: InfluxDb) -> None:
    worker, query = (_server(asking, f"{user}:the-{user}-password") for user in ("worker", "query"))
    worker.set_up()
    worker.write(LINES)
    assert next(query.query(["SELECT kwh FROM energy"], {}))["kwh"] == ("1.5",)
    with pytest.raises(InvalidSettings):
        query.write(LINES)
    worker.close()
    query.close()


@pytest.mark.parametrize("token", ["", "worker:wrong", "nobody:the-worker-password", "no-user"])
def test_whoever_is_not_known_is_not_let_in(asking: InfluxDb, token: str) -> None:
    server = _server(asking, token)
    with pytest.raises(InvalidSettings, match="INFLUXDB_TOKEN"):
        server.set_up()
    server.close()
