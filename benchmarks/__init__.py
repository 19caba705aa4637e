"""`./power bench`: how fast and how big the service is here, each figure beside a baseline of the same run."""

import importlib
import shutil
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import psutil

from benchmarks.databases import Database
from benchmarks.embedded import EmbeddedDatabase
from benchmarks.influxdb import influx_database
from benchmarks.rounds import Options
from benchmarks.table import Row, as_json, as_text, machine
from power_cli.up import ROOT
from shared.domain.errors import PowerError
from shared.runtime.process import on_stop

MEASUREMENTS = {
    "rule": "the normalisation rule alone",
    "throughput": "batches over MQTT and over HTTP, until stored",
    "outbox": "POSTs with the outbox and without it",
    "drain": "an outbox that an outage has filled",
    "messages": "single readings over MQTT, until stored",
    "latency": "from a POST until a GET shows it",
    "queries": "the answers of the query service",
    "history": "one reading for a ship with little or much history",
    "page": "the page in a browser",
    "memory": "the worker's memory while readings pass",
}
WHEN_NAMED = {"page"}
"""Not taken unless named by `--only`: it takes some ten minutes to fill."""


def add_arguments(parser: ArgumentParser) -> None:
    """Describe the options."""
    what = "; ".join(f"{name}: {text}" for name, text in MEASUREMENTS.items())
    few = f"just these ({what}); not taken unless named: {', '.join(sorted(WHEN_NAMED))}"
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, metavar="NAME", help=few)
    parser.add_argument(
        "--store",
        choices=("embedded", "influxdb"),
        default="embedded",
        help="over which store (default embedded); influxdb is the one of INFLUXDB_URL, or else started here",
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds: a first look, no verdict")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table and every round's figure there too")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "data", metavar="DIR", help="on which disk; what is put there is removed"
    )


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
            "--quick: smaller sizes and fewer rounds than the goals are set for; take the last column as a hint.\n"
        )
    if arguments.json:
        arguments.json.write_text(as_json(rows, name, quick=arguments.quick), "utf-8")
    return 0


def _database(store: str, folder: Path) -> AbstractContextManager[Database]:
    if store == "embedded":
        return nullcontext(EmbeddedDatabase())
    return influx_database(Path(tempfile.mkdtemp(prefix="influxdb-", dir=folder)))


def _interrupt() -> None:
    """Have everything that we started ended on the way out."""
    raise KeyboardInterrupt


def _measured(name: str, options: Options) -> list[Row]:
    """Take one measurement; one that fails must not cost the others."""
    module = importlib.import_module(f"benchmarks.{name}")
    try:
        rows: list[Row] = module.measure(options)
    except (PowerError, OSError, psutil.Error) as error:
        return [Row(MEASUREMENTS[name], f"failed: {error}", "", None, "", holds=False)]
    return rows
