"""Validates the query parameters of a request, for all services."""

import re
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import PydanticCustomError
from werkzeug.datastructures import MultiDict

from shared.contract.validation import MOMENT_SCHEMA, moment, problems
from shared.domain.errors import InvalidInput, Problem

_DIGITS = re.compile(r"-?\d+", re.ASCII)


def _whole_number(text: object) -> object:
    """Accept digits only: pydantic would also accept `1_0` and `1.0`."""
    if isinstance(text, str) and not _DIGITS.fullmatch(text):
        raise PydanticCustomError("whole_number", "should be a whole number")
    return text


DIGITS = BeforeValidator(_whole_number)
"""The last annotation of an integer parameter: `Annotated[int, Field(ge=0), DIGITS]`."""
_DASHED_TIME = re.compile(r"^(\d{4}-?\d\d-?\d\dT\d\d)-(\d\d)(?:-(\d\d)|(?!:))")
_LOST_PLUS = re.compile(r" (?=\d\d(?::?\d\d)?$)")


def _timestamp(text: object) -> int:
    """Convert a timestamp in a URL: its time may be joined by `-`, and its `+` may have been decoded to a space."""
    if isinstance(text, str):
        text = _DASHED_TIME.sub(lambda found: ":".join(part for part in found.groups() if part), text)
        text = _LOST_PLUS.sub("+", text) if "T" in text else text
    return moment(text)


TimestampUs = Annotated[int, BeforeValidator(_timestamp), MOMENT_SCHEMA]
Parameters = TypeVar("Parameters", bound=BaseModel)


def parse(model: type[Parameters], arguments: MultiDict[str, str]) -> Parameters:
    """Validate the arguments of a request.

    Raises:
        InvalidInput: it lists every parameter that is invalid, missing, unknown or repeated.

    """
    repeated = [Problem(name, "is given more than once") for name, values in arguments.lists() if len(values) > 1]
    found: tuple[Problem, ...] = ()
    try:
        parsed = model.model_validate(arguments.to_dict())
    except ValidationError as error:
        found = problems(error)
    else:
        if not repeated:
            return parsed
    raise InvalidInput("the parameters are not valid", (*repeated, *found))
