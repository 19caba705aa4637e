"""What an HTTP interface takes and gives, as OpenAPI 3.1: made from the pydantic models that check and describe it."""

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
"""A type that pydantic knows, such as a model or a TypedDict; or a plain schema."""

Moment = Annotated[str, MOMENT_SCHEMA]
JSON = "application/json"
PROBLEM = "application/problem+json"
_PLACE = re.compile(r"<(?:\w+:)?(\w+)>")
_REF = "#/components/schemas/{model}"


class Fault(BaseModel):
    """One fault of a request."""

    at: str = Field(description="a parameter, a header, or a path into the body", examples=["data[3].value"])
    problem: str = Field(examples=["should be greater than or equal to 0"])


class ProblemDocument(BaseModel):
    """Why a request was not done (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Unprocessable entity"])
    status: int = Field(examples=[422])
    detail: str | None = Field(None, examples=["the batch is not valid"])
    errors: list[Fault] | None = Field(None, max_length=100)


@dataclass(frozen=True, slots=True)
class Answer:
    """One kind of answer to a request.

    Attributes:
        description: when it comes.
        content: its body by media type.
        headers: what each of its headers says, by name.
        example: of the JSON body.

    """

    description: str
    content: Mapping[str, Content] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    Attributes:
        method: of HTTP.
        path: as Flask writes it.
        name: its `operationId`: what a client's generated function is called.
        summary: what it does, in a few words.
        answers: by status, but for those that every operation may give.
        description: what else there is to say.
        places: the parts of the path that may differ.
        query: the parameters.
        headers: the headers that make a difference.
        body: what is sent, as JSON.
        body_example: one of them.
        is_open: asks nobody for a token.

    """

    method: Literal["GET", "POST"] = "GET"
    path: str
    name: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    places: Model | None = None
    query: Model | None = None
    headers: Model | None = None
    body: Model | None = None
    body_example: Any = None
    is_open: bool = False


ASKS = "Only where the service has access tokens; which role an operation needs stands in its 403."


def problem(description: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Describe an answer that is a problem document."""
    return Answer(description, {PROBLEM: ProblemDocument}, headers or {})


RETRY_AFTER = {"Retry-After": "in how many seconds to try again"}
_COMMON = {
    401: problem("There is no token, or it is not known.", {"WWW-Authenticate": "Bearer"}),
    403: problem("The token is for something else."),
    422: problem("A parameter, or the body, is not valid; `errors` says where and why."),
    500: problem("Our fault; the service's log tells more."),
    503: problem("Something that it needs is away or overloaded: try again.", RETRY_AFTER),
}


def document(operations: Iterable[Operation], info: Schema) -> Schema:
    """Write an OpenAPI 3.1 document.

    Args:
        operations: what there is.
        info: its member `info`.

    """
    schemas, paths = _Schemas(), dict[str, Schema]()
    for each in operations:
        paths.setdefault(_PLACE.sub(r"{\1}", each.path), {})[each.method.lower()] = _written(each, schemas)
    security = {"bearer": {"type": "http", "scheme": "bearer", "description": ASKS}}
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": paths,
        "components": {"schemas": schemas.written, "securitySchemes": security},
    }


class _Schemas:
    """The schemas of the models that were asked for, by name."""

    def __init__(self) -> None:
        self.written: Schema = {}

    def refer(self, content: Content, mode: JsonSchemaMode = "serialization") -> Schema:
        """Refer to a type's schema; a plain schema stands for itself."""
        if isinstance(content, dict):
            return content
        schema = self.flat(content, mode)
        self._keep({schema["title"]: schema})
        return {"$ref": _REF.format(model=schema["title"])}

    def flat(self, content: Content, mode: JsonSchemaMode) -> Schema:
        """Give a type's schema, and keep those that it refers to."""
        schema = TypeAdapter(content).json_schema(ref_template=_REF, mode=mode)
        self._keep(schema.pop("$defs", {}))
        return schema

    def _keep(self, schemas: Schema) -> None:
        for name, schema in schemas.items():
            if self.written.setdefault(name, schema) != schema:
                raise ValueError(f"two models are called {name}")


def _written(operation: Operation, schemas: _Schemas) -> Schema:
    written: Schema = {"summary": operation.summary, "operationId": operation.name}
    if operation.description:
        written["description"] = operation.description
    places = {"path": operation.places, "query": operation.query, "header": operation.headers}
    if parameters := [each for place, model in places.items() if model for each in _parameters(place, model, schemas)]:
        written["parameters"] = parameters
    if operation.body:
        content = {"schema": schemas.refer(operation.body, "validation"), "example": operation.body_example}
        written["requestBody"] = {"required": True, "content": {JSON: content}}
    written["responses"] = {str(status): _answer(answer, schemas) for status, answer in _answers(operation).items()}
    if not operation.is_open:
        written["security"] = [{"bearer": []}, {}]
    return written


def _parameters(place: str, model: Model, schemas: _Schemas) -> list[Schema]:
    schema = schemas.flat(model, "validation")
    required = schema.get("required", [])
    return [_parameter(place, name, each, is_required=name in required) for name, each in schema["properties"].items()]


def _parameter(place: str, name: str, schema: Schema, *, is_required: bool) -> Schema:
    """Describe a parameter; one that may be left out is absent and never null."""
    given = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    shown = {key: value for key, value in schema.items() if key not in {"anyOf", "title", "description", "examples"}}
    if len(given) == 1:
        shown = {**given[0], **shown}
    if shown.get("default", ...) is None:
        del shown["default"]
    parameter: Schema = {"name": name, "in": place, "required": is_required, "schema": shown}
    if "description" in schema:
        parameter["description"] = schema["description"]
    if "examples" in schema:
        parameter["example"] = schema["examples"][0]
    return parameter


def _answers(operation: Operation) -> dict[int, Answer]:
    """Give what an operation may answer, in the order of the statuses."""
    common = {500}
    if not operation.is_open:
        common |= {401, 403, 503}
    if operation.query or operation.places or operation.body:
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
