"""A store in an InfluxDB that asks who is there: each service comes as a user, with no more rights than it needs.

On 2.x these are the users that influxdb/start.sh has created.
"""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
import urllib3

from shared.domain.errors import InvalidSettings, Unavailable
from shared.store.influx.server import Account, Server
from tests.support.grafana import shown_to_influxdb
from tests.support.influxdb import InfluxDb
from tests.support.influxdb2 import new_influxdb
from tests.support.servers import started

LINES = ["energy,ship=7 kwh=1.5 1535068800000000000"]
KWH = "SELECT kwh FROM energy"


class Asking(NamedTuple):
    """An InfluxDB, and `user:password` of its users."""

    influxdb: InfluxDb
    tokens: dict[str, str]

    def server(self, token: str, database: str = "power") -> Server:
        """Connect, by the name of a user or by a token."""
        return Server(Account(self.influxdb.url, database, self.tokens.get(token, token)))

    def ask(
        self, headers: Mapping[str, str], statement: str, database: str = "power", method: str = "GET"
    ) -> tuple[int, str]:
        """Ask as Grafana does, by a GET of /query; give the status, and an error if there is one."""
        url = f"{self.influxdb.url}/query?{urlencode({'db': database, 'q': statement})}"
        response = urllib3.request(method, url, headers=headers, retries=False, timeout=20)
        answer = json.loads(response.data)
        return response.status, answer.get("error") or answer.get("message") or answer["results"][0].get("error", "")

    def post(self, user: str, statement: str, database: str = "power") -> tuple[int, str]:
        """Send a statement that may change something, as a user."""
        return self.ask(urllib3.make_headers(basic_auth=self.tokens[user]), statement, database, "POST")


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """An InfluxDB with a user that may write and read, two that may read, and a database that is none of theirs."""
    with started(new_influxdb(tmp_path_factory.mktemp("influxdb"), auth=True)) as influxdb:
        tokens = influxdb.users()
        influxdb.write(influxdb.create("other"), LINES, "ns")
        yield Asking(influxdb, tokens)


def test_a_user_and_its_password_stand_in_the_token(asking: Asking) -> None:
    worker, query = asking.server("worker"), asking.server("query")
    worker.set_up()
    worker.write(LINES)
    assert next(query.query([KWH], {}))["kwh"] == ("1.5",)
    with pytest.raises(InvalidSettings):
        query.write(LINES)
    worker.close()
    query.close()


@pytest.mark.parametrize("token", ["", "worker:wrong", "nobody:the-worker-password", "no-user"])
def test_whoever_is_not_known_is_not_let_in(asking: Asking, token: str) -> None:
    server = asking.server(token)
    with pytest.raises(InvalidSettings, match="INFLUXDB_TOKEN"):
        server.set_up()
    server.close()


@pytest.mark.parametrize("user", ["worker", "query", "grafana"])
def test_no_user_reads_or_writes_another_database(asking: Asking, user: str) -> None:
    server = asking.server(user, "other")
    with pytest.raises((InvalidSettings, Unavailable)):  # 2.x does not say that it is there
        server.write(LINES)
    server.close()
    assert asking.post(user, KWH, "other") != (200, "")
    assert asking.influxdb.query("SELECT count(kwh) FROM energy", "other")[0].columns["count"] == [1]


@pytest.mark.parametrize("user", ["query", "grafana"])
@pytest.mark.parametrize("statement", ["DROP MEASUREMENT energy", "DELETE FROM energy", "DROP DATABASE power"])
def test_who_may_only_read_deletes_nothing(asking: Asking, user: str, statement: str) -> None:
    asking.influxdb.write("power", LINES, "ns")
    asking.post(user, statement)
    assert asking.influxdb.query(KWH, "power")[0].columns["kwh"] == [1.5]


def test_grafana_is_let_in_by_what_its_data_source_shows_and_may_only_read(asking: Asking) -> None:
    """On 2.x such a user is known by HTTP Basic alone; 1.x knows no other scheme with a user's name and password."""
    asking.influxdb.write("power", LINES, "ns")
    headers = shown_to_influxdb({"influxdb_grafana_password": asking.tokens["grafana"].partition(":")[2]})
    assert asking.ask(headers, KWH) == (200, "")
    assert asking.ask({}, KWH)[0] == 401
    wrong = shown_to_influxdb({"influxdb_grafana_password": "wrong"})
    assert asking.ask(wrong, KWH)[0] == 401
    url = f"{asking.influxdb.url}/write?db=power"
    assert urllib3.request("POST", url, body=LINES[0], headers=headers, retries=False).status in {401, 403}
