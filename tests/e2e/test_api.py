"""The whole HTTP interface, against what its OpenAPI document says of it."""

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

from power_cli.up import ROOT
from tests.support.servers import HOST, Service

DOCUMENT = json.loads((ROOT / "query_api" / "openapi.json").read_text("utf-8"))
schema = schemathesis.openapi.from_dict(DOCUMENT)


STREAM = "/data/stream"
STREAM_S = 1.0
"""For how long to listen to what has no end."""


@schema.exclude(path=STREAM).parametrize()
@settings(max_examples=40)
def test_every_operation_does_what_the_document_says(case: Case[Any], service: Service) -> None:
    """But for positive data: that a window ends after it begins is more than a schema can say."""
    case.call_and_validate(base_url=f"http://{HOST}:{service.port}", excluded_checks=[positive_data_acceptance])


@pytest.mark.parametrize("service", ["embedded"], indirect=True)
@schema.include(path=STREAM).parametrize()
@settings(max_examples=2)
def test_the_stream_does_too(case: Case[Any], service: Service) -> None:
    base_url = f"http://{HOST}:{service.port}"
    case.call_and_validate(base_url=base_url, excluded_checks=[positive_data_acceptance], timeout=STREAM_S)
