"""`./power openapi`: the OpenAPI document of the whole HTTP interface, as query_api/openapi.json has it."""

import json
import sys
import tomllib
from argparse import ArgumentParser, Namespace

import ingest_api.http.schemas
import normalizer_worker.routes
import query_api.routes
from power_cli.up import ROOT
from shared.http import health, metrics
from shared.http.openapi import Operation, document

DESCRIPTION = "Power and energy readings in, exact 15-minute energy out."


def add_arguments(_parser: ArgumentParser) -> None:
    """Describe the options: there are none."""


def operations() -> list[Operation]:
    """Give what all services together do."""
    parts = (ingest_api.http.schemas, query_api.routes, normalizer_worker.routes, health, metrics)
    return [operation for part in parts for operation in part.OPERATIONS]


def text() -> str:
    """Write the document as JSON."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    info = {"title": "Spaceship Power Service", "version": version, "description": DESCRIPTION}
    return json.dumps(document(operations(), info), indent=1) + "\n"


def run(_arguments: Namespace) -> int:
    """Print it."""
    sys.stdout.write(text())
    return 0
