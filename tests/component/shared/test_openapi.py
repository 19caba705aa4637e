"""The document of the HTTP interface: as the models are, whole, and as it is committed."""

from typing import Any

import pytest
from flask import Flask
from pydantic import BaseModel, Field

from power_cli import openapi
from power_cli.up import ROOT
from shared.http.openapi import JSON, Answer, Operation, document

PAGES = {"/", "/docs", "/openapi.json", "/page/<version>/<name>"}
"""What is for browsers, and no part of the interface."""


class Part(BaseModel):
    depth: int


class Taken(BaseModel):
    part: Part
    count: int | None = Field(None, ge=1, description="how many", examples=[3])


GIVE = Operation(
    path="/things/<thing>", name="give", summary="Give", query=Taken, answers={200: Answer("It is.", {JSON: Taken})}
)


def _document(*operations: Operation) -> Any:
    return document(operations, {"title": "T", "version": "1"})


def test_the_committed_document_is_what_the_code_says() -> None:
    committed = (ROOT / "query_api" / "openapi.json").read_text("utf-8")
    assert committed == openapi.text(), "run ./power openapi > query_api/openapi.json"


def test_every_route_is_documented_or_a_page(app: Flask) -> None:
    documented = {(each.path, each.method) for each in openapi.operations()}
    served = {(rule.rule, method) for rule in app.url_map.iter_rules() for method in rule.methods or ()}
    served = {(rule, method) for rule, method in served if rule not in PAGES and method not in {"HEAD", "OPTIONS"}}
    assert served == documented


def test_a_parameter_that_may_be_left_out_is_no_null() -> None:
    [_, count] = _document(GIVE)["paths"]["/things/{thing}"]["get"]["parameters"]
    assert count == {
        "name": "count",
        "in": "query",
        "required": False,
        "schema": {"type": "integer", "minimum": 1},
        "description": "how many",
        "example": 3,
    }


def test_models_inside_of_models_are_kept_once() -> None:
    assert set(_document(GIVE)["components"]["schemas"]) == {"Taken", "Part", "Problem", "Fault"}


def test_two_models_of_one_name_are_refused() -> None:
    other = type("Part", (BaseModel,), {})
    with pytest.raises(ValueError, match="two models are called Part"):
        _document(GIVE, Operation(path="/other", name="o", summary="", answers={200: Answer("", {JSON: other})}))
