"""The whole HTTP interface, against what its OpenAPI document says of it."""

import json
from typing import Any

import schemathesis
from hypothesis import settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

from power_cli.up import ROOT
from tests.support.servers import HOST, Service

DOCUMENT = json.loads((ROOT / "shared" / "openapi.json").read_text("utf-8"))
schema = schemathesis.openapi.from_dict(DOCUMENT)


@schema.parametrize()
@settings(max_examples=40)
def test_every_operation_does_what_the_document_says(case: Case[Any], service: Service) -> None:
    case.call_and_validate(base_url=f"http://{HOST}:{service.port}", excluded_checks=[positive_data_acceptance])
