"""One InfluxDB, 1.6 or later or 2.x, over HTTP: lines in, rows of columns out, its errors turned into ours.

Both versions take line protocol at ``/write`` and answer InfluxQL at ``/query``.
"""

import csv
import json
import re
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress, islice
from typing import Any

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from shared.domain.errors import InvalidSettings, Refused, Unavailable

LINES = 10_000
"""How many lines one request takes: what InfluxDB is quickest with, and a tenth of what it takes at most."""
AT_ONCE = 2
"""How many requests with lines are under way at a time: while one is being synced to disk another is being parsed."""
TIMEOUT_S = 30
PINNED_NS = 170 * 365 * 86_400 * 10**9
"""So much later than now lies what must stay: no retention policy reaches it."""
NS_PER_US = 1000
NS_PER_S = 10**9
_OLDEST = (1, 6)
_TOO_NEW = 3
_IS_ANSWERED = "SELECT value FROM pinned WHERE setting = 'store' LIMIT 1"
_BAD = (400, 422)
_NOT_ALLOWED = (401, 403)
_NO_BUCKET = 404
_SERVER_ERROR = 500


Table = dict[str, tuple[str, ...]]
"""Columns by name, as text: `time`, the fields, and `tags`, which is ``ship=7`` if the statement groups by ship."""


@dataclass(frozen=True, slots=True)
class Account:
    """Which InfluxDB, and who we are there.

    Attributes:
        url: its address.
        bucket: the bucket, on 1.x the database.
        token: for 2.x an API token, for 1.x ``user:password``; empty where nobody is asked.
        org: the organisation, for 2.x.

    """

    url: str
    bucket: str
    token: str = ""
    org: str = ""


class Server:
    """A connection pool; safe to use from several threads. Nothing is asked before the first use."""

    def __init__(self, account: Account, *, connections: int = 8, timeout_s: float = TIMEOUT_S) -> None:
        """Prepare for as many requests at once as there are connections."""
        self._client: Any = InfluxDBClient(  # without types
            account.url,
            token=account.token,
            auth_basic=":" in account.token,  # not as `username`, with which it would sign in at 2.x's own address
            org=account.org,
            timeout=round(timeout_s * 1000),
            retries=False,
            connection_pool_maxsize=connections,
        )
        self._account = account
        self.is_unsettled = False
        """Whether a write may still be under way that nobody waits for any more; whoever waits it out resets this."""
        self.is_answering = False
        """Whether the last request was answered."""
        self._is_known = False
        self._is_set_up = False

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def check(self) -> None:
        """Ask, once, whether this is an InfluxDB that we can work with; on 1.x make the database.

        Raises:
            InvalidSettings: it is not, or it does not let us in.
            Unavailable: it does not answer.

        """
        if self._is_known:
            return
        with self._errors():
            _, _, headers = self._client.api_client.call_api("/ping", "GET", _return_http_data_only=False)
        version = next((value for name, value in headers.items() if name.lower() == "x-influxdb-version"), "")
        if not _is_supported(version):
            what = f"InfluxDB {version}" if version else "no InfluxDB that tells its version"
            raise InvalidSettings(f"INFLUXDB_URL: {self._account.url} is {what}; 1.6 to 1.x and 2.x are supported")
        if version.lstrip("v").startswith("1."):
            self._make_database()
        elif not self._is_there():  # /ping answers everyone: this is the first request that needs the token
            raise InvalidSettings(f"INFLUXDB_BUCKET: {self._no_bucket()}")
        self._is_known = True

    def forget(self) -> None:
        """Have it looked at again with the next use: it may have been set up anew, or be another version now."""
        self._is_known = self._is_set_up = False

    def _make_database(self) -> None:
        name = self._account.bucket.replace("\\", "\\\\").replace('"', '\\"')
        try:
            self._ask(f'CREATE DATABASE "{name}"', {})  # one that is there stays as it is
        except InvalidSettings:
            if not self._is_there():  # only an administrator may make one
                raise

    def _is_there(self) -> bool:
        """Tell whether the database, or on 2.x the bucket, is among those that we may read."""
        names = _columns(self._ask("SHOW DATABASES", {}).rstrip("\n"))
        return self._account.bucket in names.get("name", ())

    def _no_bucket(self) -> str:
        return f"InfluxDB at {self._account.url} has no bucket {self._account.bucket!r} for this INFLUXDB_TOKEN"

    def write(self, lines: Iterable[str]) -> None:
        """Have lines stored, their times in nanoseconds; they are durable when this returns.

        No point may be among them twice: which of several requests comes first is not known. When this returns or
        raises, none is under way any more, but for one that was not answered.

        Raises:
            Refused: a line can never be stored; others of its request may be, and those of all other requests are.
            Unavailable: the database is away or overloaded; any part of the lines may be stored.

        """
        self.check()
        lines, under_way, refusals = iter(lines), deque[Future[None]](), list[Refused]()
        with ThreadPoolExecutor(AT_ONCE, "influxdb-write") as pool:  # its end waits for all, after an error too
            while part := list(islice(lines, LINES)):
                body = "\n".join(part).encode()
                if len(part) < LINES and not under_way:  # it is the only one
                    self._write(body)
                    return
                under_way.append(pool.submit(self._write, body))
                if len(under_way) == AT_ONCE:
                    _settle(under_way.popleft(), refusals)
            for each in under_way:
                _settle(each, refusals)
        if refusals:
            raise refusals[0]

    def _write(self, body: bytes) -> None:
        with self._errors(is_write=True), self._unknown_outcomes():
            self._client.api_client.call_api(
                "/write",
                "POST",
                query_params=[("db", self._account.bucket)],
                header_params={"Content-Type": "text/plain; charset=utf-8"},
                body=body,
            )

    def query(self, statements: Sequence[str], values: Mapping[str, object]) -> Iterator[Table]:
        """Run SELECT statements and give the answers of those that have one; times are in nanoseconds.

        ``$name`` in a statement stands for one of the values.

        Raises:
            Unavailable: the database is away, overloaded, or has not been set up by a worker.

        """
        self.check()
        answer = self._ask("; ".join([*statements, _IS_ANSWERED]), values)
        tables = answer.rstrip("\n").split("\n\n")
        # In CSV, a statement that failed has no rows, nor have those after it: the last one shows that none did.
        if not tables.pop().startswith("name,tags,time,value\npinned,"):
            raise Unavailable(f"InfluxDB at {self._account.url} did not answer all of a query")
        for table in tables:
            yield _columns(table)

    def set_up(self) -> None:
        """Put the point that every query is answered with at its end."""
        self.check()
        if not self._is_set_up and "pinned," not in self._ask(_IS_ANSWERED, {}):
            self.pin("store", "1")
        self._is_set_up = True

    def pin(self, setting: str, value: str) -> None:
        """Put a value under a name; of several the first counts."""
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        self.write([f'pinned,setting={setting} value="{quoted}" {time.time_ns() + PINNED_NS}'])

    def delete(self, measurement: str, ship: int, start_ns: int, end_ns: int) -> None:
        """Delete points of a ship; it is done when this returns.

        Raises:
            Unavailable: the database is away or overloaded.

        """
        self.check()
        self._ask(f"DELETE FROM {measurement} WHERE ship = '{ship}' AND time >= {start_ns} AND time < {end_ns}", {})

    def _ask(self, query: str, values: Mapping[str, object]) -> str:
        with self._errors():
            response = self._client.api_client.call_api(
                "/query",
                "POST",
                header_params={"Accept": "application/csv", "Content-Type": "application/x-www-form-urlencoded"},
                post_params=[
                    ("db", self._account.bucket),
                    ("epoch", "ns"),
                    ("q", query),
                    ("params", json.dumps(values)),
                ],
                _preload_content=False,
                _return_http_data_only=True,
            )
            return str(response.data, "utf-8")

    @contextmanager
    def _errors(self, *, is_write: bool = False) -> Iterator[None]:
        self.is_answering = False
        try:
            yield
            self.is_answering = True
        except HTTPError as error:
            raise Unavailable(f"InfluxDB at {self._account.url} does not answer: {error}") from error
        except ApiException as error:
            self.is_answering = True
            said = _said(error)
            where = f"InfluxDB at {self._account.url}"
            if error.status in _NOT_ALLOWED:
                raise InvalidSettings(f"INFLUXDB_TOKEN: {where} does not let us in: {said}") from error
            if error.status in _BAD and is_write:
                raise Refused(f"InfluxDB refuses it: {said}") from error
            if error.status in _BAD:
                raise  # the query is wrong, and that is our fault
            if error.status == _NO_BUCKET:  # on 2.x also one that the token may not use
                raise Unavailable(f"INFLUXDB_BUCKET: {self._no_bucket()}: {said}") from error
            raise Unavailable(f"{where} answers {error.status}: {said}") from error

    @contextmanager
    def _unknown_outcomes(self) -> Iterator[None]:
        """Note a write that was sent, and is neither done nor refused."""
        try:
            yield
        except (NewConnectionError, ConnectTimeoutError):
            raise  # nothing was sent
        except BaseException as error:
            is_refused = isinstance(error, ApiException) and _BAD[0] <= (error.status or 0) < _SERVER_ERROR
            self.is_unsettled |= not is_refused
            raise


def _settle(write: Future[None], refusals: list[Refused]) -> None:
    """Wait for a request; one that is refused keeps no other from being sent."""
    try:
        write.result()
    except Refused as error:
        refusals.append(error)


def _columns(table: str) -> Table:
    """Read CSV; most answers have nothing quoted, and then all their cells lie at equal distances."""
    if '"' in table:
        names, *rows = csv.reader(table.splitlines())
        return dict(zip(names, zip(*rows, strict=True), strict=True))
    head, _, rest = table.partition("\n")
    names, cells = head.split(","), rest.replace("\n", ",").split(",")
    return {name: tuple(cells[i :: len(names)]) for i, name in enumerate(names)}


def complete(table: Table, optional: Collection[str] = ()) -> Table:
    """Leave out rows that lack a field: InfluxDB shows the fields of a point that is being written one by one.

    Fields that may be missing are empty then.
    """
    needed = [column for name, column in table.items() if name not in optional]
    if all("" not in column for column in needed):
        return table
    whole = ["" not in row for row in zip(*needed, strict=True)]
    return {name: tuple(compress(column, whole)) for name, column in table.items()}


def _is_supported(version: str) -> bool:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return found is not None and _OLDEST <= (int(found[1]), int(found[2])) < (_TOO_NEW, 0)


def _said(error: ApiException) -> str:
    """Give the reason in one line; where CSV was asked for, it comes as a table of one column."""
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else str(error.body or error.reason)
    try:
        said = json.loads(body)
    except ValueError:
        return " ".join(body.removeprefix("error\n").split())
    return str(said.get("error") or said.get("message")) if isinstance(said, dict) else " ".join(body.split())
