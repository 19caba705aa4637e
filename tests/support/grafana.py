"""The dashboards as Grafana reads them: their panels, their queries, and what it puts in the place of macros."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from power_cli.up import ROOT

DASHBOARDS = ROOT / "grafana" / "dashboards"
PROVISIONING = ROOT / "grafana" / "provisioning"
POSTGRESQL = ROOT / "grafana" / "postgresql"
"""The data sources and dashboards of a cluster."""
TEXT_OF = {"influxdb": "query", "prometheus": "expr", "grafana-postgresql-datasource": "rawSql"}
"""Under which name a query keeps its text, by the kind of its data source."""
_MACRO = re.compile(r"\$(?:\{(\w+)(?::raw)?\}|(\w+))")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a dashboard.

    Attributes:
        name: dashboard, panel and query, for a reader.
        kind: that of its data source.
        text: with its macros.
        min_interval: below which its panel does not cut time.
        instant: whether it asks for one moment.

    """

    name: str
    kind: str
    text: str
    min_interval: str
    instant: bool

    def filled(self, macros: Mapping[str, str]) -> str:
        """Put values in the place of macros; one that has none is an error."""
        return _MACRO.sub(lambda found: macros[found[1] or found[2]], self.text)


def dashboards() -> dict[str, Json]:
    """Give every dashboard, by the name of its file."""
    return {path.stem: load(path) for path in sorted(DASHBOARDS.glob("*.json"))}


def load(path: Path) -> Json:
    """Read one dashboard."""
    dashboard: Json = json.loads(path.read_text("utf-8"))
    return dashboard


def panels(dashboard: Json) -> Iterator[Json]:
    """Give the panels of a dashboard, those of its rows too, and not the rows."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def queries(name: str, dashboard: Json) -> Iterator[Query]:
    """Give every query of a dashboard, its variables' first; `faults` tells of those that are missing."""
    for variable in dashboard["templating"]["list"]:
        yield Query(f"{name} / ${variable['name']}", variable["datasource"]["type"], variable["query"], "1s", True)
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            kind = target.get("datasource", {}).get("type")
            if kind not in TEXT_OF:
                continue
            yield Query(
                f"{name} / {panel['title']} / {target['refId']}",
                kind,
                target.get(TEXT_OF[kind], ""),
                panel.get("interval", "1s"),
                target.get("instant", False),
            )


def provisioned(folder: Path = PROVISIONING) -> dict[str, str]:
    """Give the kinds of the provisioned data sources, by their uid."""
    text = "".join(path.read_text("utf-8") for path in sorted((folder / "datasources").glob("*.yml")))
    return dict(re.findall(r"- uid: (\S+)\n\s+name: .+\n\s+type: (\S+)", text))


def shown_to_influxdb(secrets: Mapping[str, str]) -> dict[str, str]:
    """Give the headers by which Grafana shows InfluxDB who it is, made of the data source and the secrets it names."""
    text = (PROVISIONING / "datasources" / "power.yml").read_text("utf-8")
    source = text[text.index("uid: power-influxdb") : text.index("uid: power-prometheus")]
    assert "httpHeader" not in source
    assert "basicAuth: true\n" in source
    user = re.search(r"(?m)^    basicAuthUser: (\w+)$", source)
    secret = re.search(r"(?m)^      basicAuthPassword: \$__file\{/run/secrets/(\w+)\}$", source)
    assert user
    assert secret
    return dict(urllib3.make_headers(basic_auth=f"{user[1]}:{secrets[secret[1]]}"))


def faults(dashboard: Json, sources: Mapping[str, str]) -> list[str]:
    """Say what is wrong with a dashboard: panels that ask nothing, or ask where there is nobody."""
    found = []
    for panel in panels(dashboard):
        name, targets = panel["title"], panel.get("targets", [])
        if not targets:
            found.append(f"{name}: asks nothing")
        found += [f"{name}: has no {key}" for key in ("title", "description") if not panel.get(key)]
        for client in (panel, *targets):
            source = client.get("datasource", {})
            if sources.get(source.get("uid")) != source.get("type") or not source:
                found.append(f"{name}: its data source is not provisioned: {source}")
        for target in targets:
            if not target.get(TEXT_OF.get(target.get("datasource", {}).get("type"), ""), "").strip():
                found.append(f"{name}: {target.get('refId')} asks nothing")
    ids = [panel["id"] for panel in (*panels(dashboard), *(row for row in dashboard["panels"] if row["type"] == "row"))]
    if len(set(ids)) < len(ids):
        found.append("two panels have the same id")
    return found
