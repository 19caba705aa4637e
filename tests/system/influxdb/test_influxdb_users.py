"""A store in an InfluxDB that asks who is there: each service comes as a user, with no more rights than it needs."""

import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
import urllib3

from shared.domain.errors import InvalidSettings
from shared.store.influx.server import Account, Server
from tests.support.grafana import shown_to_influxdb
from tests.support.influxdb import InfluxDb
from tests.support.influxdb2 import new_influxdb
from tests.support.servers import started

LINES = ["energy,ship=7 kwh=1.5 1535068800000000000"]


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDb]:
    """An InfluxDB with a user that may write and read, and two that may read."""
    with started(new_influxdb(tmp_path_factory.mktemp("influxdb"), auth=True)) as influxdb:
        influxdb.create("power")
        for user in ("worker", "query", "grafana"):
            influxdb.add_user(user, f"the-{user}-password", "power", may_write=user == "worker")
        yield influxdb


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


def _asked(asking: InfluxDb, headers: dict[str, str], statement: str) -> tuple[int, str]:
    """Ask as Grafana does, by a GET of /query; give the status, and an error if there is one."""
    fields = urlencode({"db": "power", "q": statement})
    response = urllib3.request("GET", f"{asking.url}/query?{fields}", headers=headers, retries=False, timeout=20)
    answer = json.loads(response.data)
    return response.status, answer.get("error", "") or answer["results"][0].get("error", "")


def test_grafana_is_let_in_by_what_its_data_source_shows_and_may_only_read(asking: InfluxDb) -> None:
    """On 2.x such a user is known by HTTP Basic alone; 1.x knows no other scheme with a user's name and password."""
    asking.write("power", LINES, "ns")
    headers = shown_to_influxdb({"influxdb_grafana_password": "the-grafana-password"})
    assert _asked(asking, headers, "SELECT kwh FROM energy") == (200, "")
    assert _asked(asking, {}, "SELECT kwh FROM energy")[0] == 401
    wrong = shown_to_influxdb({"influxdb_grafana_password": "wrong"})
    assert _asked(asking, wrong, "SELECT kwh FROM energy")[0] == 401
    written = urllib3.request("POST", f"{asking.url}/write?db=power", body=LINES[0], headers=headers, retries=False)
    assert written.status == 403
