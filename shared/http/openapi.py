"""Writes the OpenAPI 3.1 document of the HTTP interface from the pydantic models that validate requests.

Why no library does it: docs/decisions/019-openapi.md.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from shared.contract.validation import MOMENT_SCHEMA

Schema = dict[str, Any]
Model = type[BaseModel]
Content = Any
"""A type with a pydantic schema, such as a model or a TypedDict, or a JSON Schema."""

Timestamp = Annotated[str, MOMENT_SCHEMA]
JSON = "application/json"
PROBLEM = "application/problem+json"
_PATH_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_REF = "#/components/schemas/{model}"


class Fault(BaseModel):
    """One invalid field of a request."""

    at: str = Field(description="parameter, header, or path into the body", examples=["data[3].value"])
    problem: str = Field(examples=["should be greater than or equal to 0"])


class ProblemDocument(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Unprocessable entity"])
    status: int = Field(examples=[422])
    detail: str | None = Field(None, examples=["the batch is not valid"])
    errors: list[Fault] | None = Field(None, max_length=100)


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of an operation.

    Attributes:
        description: what it means.
        content: the body by media type.
        headers: descriptions of its headers, by name.
        example: a JSON body.

    """

    description: str
    content: Mapping[str, Content] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    Attributes:
        method: the HTTP method.
        path: in Flask's notation.
        name: `operationId`, which is the name of the function in a generated client.
        summary: what it does, in a few words.
        answers: responses by status, besides those that every operation may give.
        description: further explanation.
        path_parameters: model of the parameters in the path.
        query: model of the query parameters.
        headers: model of the request headers.
        body: model of the JSON body.
        body_example: a JSON body.
        other_bodies: bodies of other media types.
        is_open: needs no access token.

    """

    method: Literal["GET", "POST", "PUT", "DELETE"] = "GET"
    path: str
    name: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    path_parameters: Model | None = None
    query: Model | None = None
    headers: Model | None = None
    body: Model | None = None
    body_example: Any = None
    other_bodies: Mapping[str, Content] = field(default_factory=dict)
    is_open: bool = False


SECURITY = "Only for services with access tokens. The 403 of an operation tells which role it needs."


def problem(description: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a response that is a problem document."""
    return Answer(description, {PROBLEM: ProblemDocument}, headers or {})


RETRY_AFTER = {"Retry-After": "seconds until the next try"}
_COMMON = {
    401: problem("The token is missing or unknown.", {"WWW-Authenticate": "Bearer"}),
    403: problem("The role of the token does not allow this."),
    422: problem("A parameter or the body is invalid; `errors` lists every invalid field."),
    500: problem("An error in the service; its log has the details."),
    503: problem("The store or the broker is unavailable, or the service is overloaded: try again.", RETRY_AFTER),
}


def document(operations: Iterable[Operation], info: Schema) -> Schema:
    """Return an OpenAPI 3.1 document with the member `info`."""
    schemas, paths = _Schemas(), dict[str, Schema]()
    for each in operations:
        paths.setdefault(_PATH_PARAMETER.sub(r"{\1}", each.path), {})[each.method.lower()] = _operation(each, schemas)
    security = {"bearer": {"type": "http", "scheme": "bearer", "description": SECURITY}}
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": paths,
        "components": {"schemas": schemas.by_name, "securitySchemes": security},
    }


class _Schemas:
    """The schemas of all models in the document, by name."""

    def __init__(self) -> None:
        self.by_name: Schema = {}

    def refer(self, content: Content, mode: JsonSchemaMode = "serialization") -> Schema:
        """Return a reference to the schema of a type; a JSON Schema is returned as it is."""
        if isinstance(content, dict):
            return content
        schema = self.flat(content, mode)
        self._keep({schema["title"]: schema})
        return {"$ref": _REF.format(model=schema["title"])}

    def flat(self, content: Content, mode: JsonSchemaMode) -> Schema:
        """Return the schema of a type, and keep the schemas that it refers to."""
        schema = TypeAdapter(content).json_schema(ref_template=_REF, mode=mode)
        self._keep(schema.pop("$defs", {}))
        return schema

    def _keep(self, schemas: Schema) -> None:
        for name, schema in schemas.items():
            if self.by_name.setdefault(name, schema) != schema:
                raise ValueError(f"two models are called {name}")


def _operation(operation: Operation, schemas: _Schemas) -> Schema:
    written: Schema = {"summary": operation.summary, "operationId": operation.name}
    if operation.description:
        written["description"] = operation.description
    models = {"path": operation.path_parameters, "query": operation.query, "header": operation.headers}
    if parameters := [each for place, model in models.items() if model for each in _parameters(place, model, schemas)]:
        written["parameters"] = parameters
    if operation.body:
        content = {JSON: {"schema": schemas.refer(operation.body, "validation"), "example": operation.body_example}}
        content |= {media: {"schema": schemas.refer(each)} for media, each in operation.other_bodies.items()}
        written["requestBody"] = {"required": True, "content": content}
    written["responses"] = {str(status): _answer(answer, schemas) for status, answer in _answers(operation).items()}
    if not operation.is_open:
        written["security"] = [{"bearer": []}, {}]
    return written


def _parameters(place: str, model: Model, schemas: _Schemas) -> list[Schema]:
    schema = schemas.flat(model, "validation")
    required = schema.get("required", [])
    return [_parameter(place, name, each, is_required=name in required) for name, each in schema["properties"].items()]


def _parameter(place: str, name: str, schema: Schema, *, is_required: bool) -> Schema:
    """Describe a parameter. An optional one may be omitted and is never null."""
    types = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    shown = {key: value for key, value in schema.items() if key not in {"anyOf", "title", "description", "examples"}}
    if len(types) == 1:
        shown = {**types[0], **shown}
    if shown.get("default", ...) is None:
        del shown["default"]
    parameter: Schema = {"name": name, "in": place, "required": is_required, "schema": shown}
    if "description" in schema:
        parameter["description"] = schema["description"]
    if "examples" in schema:
        parameter["example"] = schema["examples"][0]
    return parameter


def _answers(operation: Operation) -> dict[int, Answer]:
    """Return all responses of an operation by status, in ascending order."""
    common = {500}
    if not operation.is_open:
        common |= {401, 403, 503}
    if operation.query or operation.path_parameters or operation.body:
        common.add(422)
    return dict(sorted({**{status: _COMMON[status] for status in common}, **operation.answers}.items()))


def _answer(answer: Answer, schemas: _Schemas) -> Schema:
    written: Schema = {"description": answer.description}
    if answer.headers:
        written["headers"] = {
            name: {"description": meaning, "schema": {"type": "string"}} for name, meaning in answer.headers.items()
        }
    if answer.content:
        written["content"] = {media: {"schema": schemas.refer(content)} for media, content in answer.content.items()}
    if answer.example is not None:
        written["content"][JSON]["example"] = answer.example
    return written
