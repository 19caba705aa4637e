"""`./power dashboards`: makes the dashboards for PostgreSQL of those for InfluxDB, with the queries of queries.sql."""

import json
import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings

NAMES = ("fleet", "ship")
"""The dashboards that read the store."""
SOURCE = {"type": "grafana-postgresql-datasource", "uid": "power-postgresql"}
INFLUXDB = "power-influxdb"
_FOLDER = ROOT / "grafana"
OUTPUT = _FOLDER / "postgresql" / "dashboards"
_QUERY = re.compile(r"(?ms)^-- (\w+ / .+?)\n(.+?);\n")

Json = dict[str, Any]


def run(_arguments: Namespace) -> int:
    """Write the dashboards."""
    for name, text in made().items():
        path = OUTPUT / f"{name}.json"
        path.write_text(text, "utf-8")
        sys.stdout.write(f"written  {path.relative_to(ROOT)}\n")
    return 0


def made(folder: Path = _FOLDER) -> dict[str, str]:
    """Return the dashboards for PostgreSQL as JSON, by name.

    Raises:
        InvalidSettings: a query is missing, or belongs to no panel.

    """
    queries = dict(_QUERY.findall((folder / "postgresql" / "queries.sql").read_text("utf-8")))
    used: set[str] = set()
    texts = {}
    for name in NAMES:
        dashboard = json.loads((folder / "dashboards" / f"{name}.json").read_text("utf-8"))
        used.update(_convert(name, dashboard, queries))
        texts[name] = json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
    if used != set(queries):
        raise InvalidSettings(f"queries.sql has queries of no panel: {', '.join(sorted(set(queries) - used))}")
    return texts


def _convert(name: str, dashboard: Json, queries: Mapping[str, str]) -> Iterator[str]:
    """Put the queries in; return their names."""
    for variable in dashboard["templating"]["list"]:
        key = f"{name} / ${variable['name']}"
        variable.update(datasource=SOURCE, query=_found(queries, key))
        yield key
    for panel in _panels(dashboard):
        if panel.get("datasource", {}).get("uid") == INFLUXDB:
            panel["datasource"] = SOURCE
        for target in panel["targets"]:
            if target["datasource"]["uid"] != INFLUXDB:
                continue
            key = f"{name} / {panel['title']} / {target['refId']}"
            is_series = panel["type"] == "timeseries"
            sql = _found(queries, key)
            kept = {"refId": target["refId"], "datasource": SOURCE, "editorMode": "code", "rawQuery": True}
            target.clear()
            target.update(kept, format="time_series" if is_series else "table", rawSql=sql)
            yield key


def _found(queries: Mapping[str, str], key: str) -> str:
    if key not in queries:
        raise InvalidSettings(f"queries.sql has no query for {key}")
    return queries[key]


def _panels(dashboard: Json) -> Iterator[Json]:
    for panel in dashboard["panels"]:
        yield from panel["panels"] if panel["type"] == "row" else [panel]
