"""The whole HTTP interface, against what its OpenAPI document says of it."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import schemathesis
from hypothesis import settings
from schemathesis import Case, SerializationContext
from schemathesis.specs.openapi.checks import positive_data_acceptance

from ingest_api.http.schemas import NDJSON
from power_cli.up import ROOT
from shared.http.openapi import JSON
from tests.support.servers import HOST, Service

DOCUMENT = json.loads((ROOT / "query_api" / "openapi.json").read_text("utf-8"))
schema = schemathesis.openapi.from_dict(DOCUMENT)


STREAM = "/data/stream"
STREAM_S = 1.0
"""For how long to listen to what has no end."""


@schemathesis.serializer(NDJSON)
def lines(_context: SerializationContext, value: object) -> bytes:
    """Write a body of NDJSON, which the document calls a text; others are wrong, and so is their JSON."""
    return (value if isinstance(value, str) else json.dumps(value)).encode(errors="surrogatepass")


@pytest.fixture(scope="module")
def filled(service: Service) -> Service:
    """One that has what the examples ask for."""
    example = DOCUMENT["paths"]["/data"]["post"]["requestBody"]["content"][JSON]["example"]
    assert service.post(example, Prefer="wait=10").status == 201
    return service


@schema.exclude(path=STREAM).parametrize()
@settings(max_examples=40)
def test_every_operation_does_what_the_document_says(case: Case[Any], filled: Service) -> None:
    """But for positive data: that a window ends after it begins is more than a schema can say."""
    case.call_and_validate(base_url=f"http://{HOST}:{filled.port}", excluded_checks=[positive_data_acceptance])


@pytest.mark.parametrize("service", ["embedded"], indirect=True)
@schema.include(path=STREAM).parametrize()
@settings(max_examples=2)
def test_the_stream_does_too(case: Case[Any], service: Service) -> None:
    base_url = f"http://{HOST}:{service.port}"
    case.call_and_validate(base_url=base_url, excluded_checks=[positive_data_acceptance], timeout=STREAM_S)


def test_the_examples_are_what_a_new_service_answers(tmp_path: Path) -> None:
    """What is sent as the document shows it is then told as the document shows it."""
    service = Service(tmp_path / "data")
    service.start()
    posted = DOCUMENT["paths"]["/data"]["post"]
    answer = service.post(posted["requestBody"]["content"][JSON]["example"], Prefer="wait=10")
    shown = {path: _example(methods["get"]) for path, methods in DOCUMENT["paths"].items() if "get" in methods}
    shown = {path: example for path, example in shown.items() if example}
    assert (answer.status, answer.json()) == (201, posted["responses"]["201"]["content"][JSON]["example"])
    assert {path: service.get(_address(path)) for path in shown} == shown
    assert len(shown) > 4
    assert service.stop() == 0


def _example(operation: Any) -> Any:
    return operation["responses"]["200"].get("content", {}).get(JSON, {}).get("example")


def _address(path: str) -> str:
    given = {each["name"]: each for each in DOCUMENT["paths"][path]["get"].get("parameters", ())}
    query = {name: each["example"] for name, each in given.items() if each["in"] == "query" and "example" in each}
    places = {name: each["example"] for name, each in given.items() if each["in"] == "path"}
    return f"{path.format(**places)}?{urlencode(query)}" if query else path.format(**places)
