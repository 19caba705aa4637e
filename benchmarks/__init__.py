"""`./power bench`: measures speed and memory on this machine, each beside a baseline of the same run."""

import importlib
import shutil
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import psutil

from benchmarks.databases import Database
from benchmarks.embedded import embedded_database
from benchmarks.influxdb import influx_database
from benchmarks.rounds import Options
from benchmarks.table import Row, as_json, as_text, machine
from power_cli.argument_types import add_data, add_store
from shared.domain.errors import PowerError
from shared.runtime.process import on_stop

MEASUREMENTS = {
    "rule": "the normalisation rule alone",
    "throughput": "batches over MQTT and over HTTP, until stored",
    "outbox": "POSTs with and without the outbox",
    "drain": "emptying a full outbox after an outage",
    "messages": "single readings over MQTT, until stored",
    "latency": "from a POST until a GET returns its reading",
    "queries": "answers of the query service",
    "history": "storing one reading of a ship with little or much history",
    "disk": "bytes on disk per reading in the embedded store",
    "page": "the page in a browser",
    "memory": "the worker's memory under load",
    "cluster": "RabbitMQ and PostgreSQL with several workers: cost of each part, rates and answers",
    "truth": "energy in the wrong slot, beside InfluxDB, VictoriaMetrics, PostgreSQL, pandas and timely-beliefs",
}
WHEN_NAMED = {"cluster", "page", "truth"}
"""Only measured when named by `--only`: they take some minutes, and need further programs."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    what = "; ".join(f"{name}: {text}" for name, text in MEASUREMENTS.items())
    few = f"measure only these ({what}); only measured when named: {', '.join(sorted(WHEN_NAMED))}"
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, metavar="NAME", help=few)
    add_store(
        parser,
        "the store (default embedded); influxdb uses the server at INFLUXDB_URL, postgresql that at POWER_STORE_URL, or"
        " starts one",
        "postgresql",
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds, for a rough result")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the table and the result of every round to this file"
    )
    add_data(parser, "folder for the measurements' files, which are removed afterwards")


def run(arguments: Namespace) -> int:
    """Measure, and print one table."""
    on_stop(_interrupt)
    arguments.data.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=arguments.data))
    rows: list[Row] = []
    try:
        with _database(arguments.store, folder) as database:
            name = database.name
            for measurement in arguments.only or [each for each in MEASUREMENTS if each not in WHEN_NAMED]:
                sys.stderr.write(f"{measurement}: {MEASUREMENTS[measurement]} …\n")
                rows += _measured(measurement, Options(folder, arguments.quick, database))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(f"\n{as_text(rows)}\n\n{machine(name)}\n")
    if arguments.quick:
        sys.stdout.write(
            "--quick: the goals are set for larger sizes and more rounds, so the last column is only a hint.\n"
        )
    if arguments.json:
        arguments.json.write_text(as_json(rows, name, quick=arguments.quick), "utf-8")
    return 0


def _database(store: str, folder: Path) -> AbstractContextManager[Database]:
    if store == "embedded":
        return nullcontext(embedded_database())
    if store == "postgresql":
        from benchmarks.postgresql import postgresql_database  # noqa: PLC0415  # only it needs psycopg

        return postgresql_database()
    return influx_database(Path(tempfile.mkdtemp(prefix="influxdb-", dir=folder)))


def _interrupt() -> None:
    """Raise, so that every process that we started is stopped on the way out."""
    raise KeyboardInterrupt


def _measured(name: str, options: Options) -> list[Row]:
    """Run one measurement; if it fails, the others still run."""
    module = importlib.import_module(f"benchmarks.{name}")
    try:
        rows: list[Row] = module.measure(options)
    except (PowerError, OSError, psutil.Error) as error:
        return [Row(MEASUREMENTS[name], f"failed: {error}", "", None, "", holds=False)]
    return rows
