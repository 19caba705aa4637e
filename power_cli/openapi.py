"""`./power openapi`: prints the OpenAPI document of the whole HTTP API; query_api/openapi.json is a copy."""

import json
import sys
import tomllib
from argparse import Namespace

import ingest_api.http.schemas
import normalizer_worker.routes
import query_api.routes
from power_cli.up import ROOT
from shared.http import health, metrics
from shared.http.openapi import Operation, document

DESCRIPTION = "Power and energy readings in, exact 15-minute energy out."


def operations() -> list[Operation]:
    """Return the operations of all services."""
    parts = (ingest_api.http.schemas, query_api.routes, normalizer_worker.routes, health, metrics)
    return [operation for part in parts for operation in part.OPERATIONS]


def text() -> str:
    """Return the document as JSON."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    info = {"title": "Spaceship Power Service", "version": version, "description": DESCRIPTION}
    return json.dumps(document(operations(), info), indent=1) + "\n"


def run(_arguments: Namespace) -> int:
    """Print the document."""
    sys.stdout.write(text())
    return 0
