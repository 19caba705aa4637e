"""The InfluxDB store, and bare requests to the same server as its baseline."""

import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException

from benchmarks.databases import Database, Goals, Place
from benchmarks.encoders import SlotRows
from benchmarks.load import STEP_S, Batch, readings_of
from benchmarks.service import free_port
from normalizer_worker.rule.normalize import normalize
from power_cli import influxd
from power_cli.up import HOST
from shared.domain.errors import Unavailable
from shared.domain.slots import SLOT_S
from shared.domain.timestamps import US_PER_S
from shared.runtime.settings import StoreSettings
from shared.store.influx.roll_ups import ships_of
from shared.store.influx.server import LINES, NS_PER_S, NS_PER_US, Account, Server

OK = 200
FEW_S = 3600
"""Slots closer than this are queried together."""


@contextmanager
def influx_database(folder: Path) -> Iterator[Database]:
    """Use the server at INFLUXDB_URL, or start one in a folder; databases created here are dropped at the end.

    A store is a database, or on 2.x a bucket, which the token must be allowed to create.

    Raises:
        Unavailable: the server does not answer, or does not start.

    """
    goals = Goals(
        mqtt_per_s=40_000,
        http_per_s=40_000,
        share=0.4,
        year_ms=250,
        fleet_ms=300,
        top_ms=40,
        page_ms=150,
        ships_ms=700,
        top_of_month=True,
        growth=None,
        top_growth=2,
    )
    given = os.environ.get("INFLUXDB_URL")
    with nullcontext(given) if given else influxd.running(folder, HOST, free_port()) as url, ExitStack() as drops:
        settings = StoreSettings.load({**os.environ, "POWER_STORE": "influxdb", "INFLUXDB_URL": url})
        client = _Client(settings)
        version = client.version()

        def new_place(folder: Path) -> Place:
            name = f"power_bench_{secrets.token_hex(4)}"
            drops.callback(
                _dropped, _made_database(client, name) if version.startswith("1.") else _made_bucket(settings, name)
            )
            return _place(folder, settings.model_copy(update={"influxdb_bucket": name}))

        yield Database(f"InfluxDB {version}", goals, new_place)


def _made_database(client: "_Client", name: str) -> Callable[[], object]:
    """Create a database; return the function that drops it."""
    client.ask(f"CREATE DATABASE {name}")
    return lambda: client.ask(f"DROP DATABASE {name}")


def _made_bucket(settings: StoreSettings, name: str) -> Callable[[], object]:
    """Create a bucket; return the function that deletes it."""
    url, token, org = settings.influxdb_url, settings.influxdb_token, settings.influxdb_org
    api: Any = InfluxDBClient(url, token=token or "", org=org).buckets_api()
    try:
        bucket = api.create_bucket(bucket_name=name, org=org)
    except ApiException as error:
        raise Unavailable(f"InfluxDB at {url} refuses to create a bucket: {error.status} {error.body}") from error
    return lambda: api.delete_bucket(bucket)


def _dropped(drop: Callable[[], object]) -> None:
    with suppress(Unavailable, ApiException, urllib3.exceptions.HTTPError):
        drop()


def _place(folder: Path, settings: StoreSettings) -> Place:
    environ = {
        "POWER_STORE": "influxdb",
        "POWER_DATA_DIR": str(folder),
        "INFLUXDB_URL": settings.influxdb_url,
        "INFLUXDB_BUCKET": settings.influxdb_bucket,
    }
    return Place(folder, environ, lambda: _Poller(settings), lambda: _BareClient(settings))


class _Client:
    """A minimal InfluxDB client on one connection."""

    def __init__(self, settings: StoreSettings, database: str = "") -> None:
        user, is_pair, password = (settings.influxdb_token or "").partition(":")
        who = urllib3.make_headers(basic_auth=f"{user}:{password}") if is_pair else {"Authorization": f"Token {user}"}
        self._http = urllib3.PoolManager(num_pools=1, maxsize=1, retries=False, headers=who if user else None)
        self._url, self._database = settings.influxdb_url.rstrip("/"), database

    def close(self) -> None:
        self._http.clear()

    def version(self) -> str:
        return self._request("GET", "/ping").headers.get("X-Influxdb-Version", "?").removeprefix("v")

    def write(self, body: bytes) -> None:
        self._request("POST", f"/write?db={self._database}", body=body)

    def ask(self, influxql: str) -> Any:
        fields = {"db": self._database, "epoch": "s", "q": influxql}
        return json.loads(self._request("POST", "/query", fields=fields, encode_multipart=False).data)

    def _request(self, method: str, path: str, **rest: Any) -> urllib3.BaseHTTPResponse:
        try:
            response = self._http.request(method, self._url + path, **rest)
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(f"InfluxDB at {self._url} does not answer: {error}") from error
        if response.status // 100 * 100 != OK:
            raise Unavailable(f"InfluxDB at {self._url} answers {response.status}: {response.data[:200]!r}")
        return response


class _Poller:
    """Polls for slots, which are written after their readings."""

    pause_s = 0.02

    def __init__(self, settings: StoreSettings) -> None:
        account = Account(
            settings.influxdb_url, settings.influxdb_bucket, settings.influxdb_token or "", settings.influxdb_org
        )
        self._server = Server(account, connections=1)

    def close(self) -> None:
        self._server.close()

    def missing(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Check the first batch alone, and all of them once it is stored."""
        return batches if not batches or self._lacking(batches[:1]) else self._lacking(batches)

    def _lacking(self, batches: Sequence[Batch]) -> list[Batch]:
        slots = [(batch, *_last_slot(batch)) for batch in batches]
        which = f" AND ship = '{batches[0].ship}'" if len(batches) == 1 else ""
        covered_s = self._covered_s(sorted({start_s for _, start_s, _ in slots}), which)
        return [batch for batch, start_s, needs_s in slots if covered_s.get((batch.ship, start_s), 0) < needs_s]

    def _covered_s(self, starts_s: Sequence[int], which: str) -> dict[tuple[int, int], float]:
        """Return the covered seconds of slots, by ship and start."""
        cuts = [i for i, start_s in enumerate(starts_s) if i == 0 or start_s - starts_s[i - 1] > FEW_S]
        runs = [(starts_s[i], starts_s[j - 1]) for i, j in pairwise([*cuts, len(starts_s)])]
        statements = [
            f"SELECT covered_s FROM energy WHERE time >= {start_s * NS_PER_S} AND time <= {end_s * NS_PER_S}{which}"  # noqa: S608  # no value comes from outside
            " GROUP BY ship"
            for start_s, end_s in runs
        ]
        return {
            (ship, int(time_ns) // NS_PER_S): float(covered_s)
            for table in self._server.query(statements, {})
            for ship, time_ns, covered_s in zip(ships_of(table), table["time"], table["covered_s"], strict=True)
        }


def _last_slot(batch: Batch) -> tuple[int, int]:
    """Return the start of the slot with a batch's last reading, and its covered seconds once the batch is stored."""
    last_s = batch.last_us // US_PER_S
    start_s = last_s // SLOT_S * SLOT_S
    return start_s, min(last_s + STEP_S - start_s, SLOT_S)


class _BareClient:
    """Writes lines encoded beforehand, in requests of the fastest size, on one connection."""

    writes = "bare InfluxDB writes of the same points (readings and slots), their lines made beforehand"
    reads = "bare InfluxQL SELECT"

    def __init__(self, settings: StoreSettings) -> None:
        self._client = _Client(settings, settings.influxdb_bucket)

    def close(self) -> None:
        self._client.close()

    def prepared(self, batches: Sequence[Batch]) -> Callable[[], None]:
        lines = _lines(batches)
        bodies = ["\n".join(lines[i : i + LINES]).encode() for i in range(0, len(lines), LINES)]

        def write() -> None:
            for body in bodies:
                self._client.write(body)

        return write

    def year(self) -> SlotRows:
        (result,) = self._client.ask("SELECT kwh FROM energy WHERE ship = '0'")["results"]
        rows: SlotRows = result["series"][0]["values"]
        return rows


def _lines(batches: Sequence[Batch]) -> list[str]:
    """Return the readings and slots of batches, as line protocol."""
    readings = readings_of(batches)
    slots = normalize(readings)
    of_readings = (readings.ship, readings.value, readings.moment_us * NS_PER_US)
    of_slots = (slots.ship, slots.kwh, slots.covered_s, slots.provisional, slots.start_s * NS_PER_S)
    return [
        *(
            f'readings,ship={ship} value={value!r},unit="kW",sent_at=0i {time_ns}'
            for ship, value, time_ns in zip(*(column.tolist() for column in of_readings), strict=True)
        ),
        *(
            f"energy,ship={ship} kwh={kwh!r},covered_s={covered_s!r},provisional={provisional} {time_ns}"
            for ship, kwh, covered_s, provisional, time_ns in zip(*(each.tolist() for each in of_slots), strict=True)
        ),
    ]
