"""Turns pydantic's errors into problems: a place and a sentence."""

import math
import re
from typing import cast

from pydantic import ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from shared.domain.errors import MAX_PROBLEMS, Problem
from shared.domain.timestamps import NOT_A_MOMENT, epoch_us, moment_us

MOMENT_SCHEMA = WithJsonSchema({"type": "string", "format": "date-time"})
"""The JSON schema of a member or parameter that `moment` checks."""
_SUBJECT = re.compile("^(?:Input|String|List) should")


DATETIME_SCHEMA = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}],
    "description": "ISO 8601, or seconds since 1970, or milliseconds from 1e11 on",
    "examples": ["2018-08-24T00:00:00Z"],
}
"""The JSON schema of a member that `moment` checks, with numbers."""
VALUE_SCHEMA = {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}], "examples": [12]}
"""The JSON schema of a member that `number_of` checks."""
NOT_A_NUMBER = "should be a number, or null where it is unknown"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MAX_DIGITS = 400


def number_of(value: object) -> float | None:
    """Convert a number, or a text that is one, to a finite number; None for null; used as a pydantic validator."""
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= _MAX_DIGITS and _NUMBER.fullmatch(value):
        value = float(value)
    if type(value) not in (int, float):
        raise PydanticCustomError("number", NOT_A_NUMBER)
    found = cast("float", value)
    if not -math.inf < found < math.inf:
        raise PydanticCustomError("number", "should be a finite number")
    return found


def moment(value: object) -> int:
    """Convert a timestamp, ISO 8601 or a number, to microseconds since 1970; used as a pydantic validator."""
    try:
        if isinstance(value, str):
            return moment_us(value)
        if type(value) in (int, float):
            return epoch_us(cast("float", value))
    except ValueError as error:
        raise PydanticCustomError("moment", "{why}", {"why": str(error)}) from None
    raise PydanticCustomError("moment", NOT_A_MOMENT)


def problems(error: ValidationError, inside: str = "") -> tuple[Problem, ...]:
    """Return the problems, at most `MAX_PROBLEMS`; `inside` is the path of the value that was checked."""
    found = error.errors(include_url=False, include_input=False)
    return tuple(Problem(_at(each, inside), _problem(each)) for each in found[:MAX_PROBLEMS])


def _at(error: ErrorDetails, inside: str) -> str:
    """Return pydantic's location as a path: ``("data", 3, "value")`` becomes ``data[3].value``."""
    path = inside + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    return path.lstrip(".") or "body"


_SENTENCES = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "too_short": "is empty",
    "string_too_short": "is empty",
    "uuid_type": "should be a UUID",
    "uuid_parsing": "should be a UUID",
    "model_type": "should be an object",
    "dict_type": "should be an object",
}


def _problem(error: ErrorDetails) -> str:
    if error["type"] == "too_long":
        return f"has more than {error['ctx']['max_length']} entries"
    return _SENTENCES.get(error["type"]) or _SUBJECT.sub("should", error["msg"], count=1)
