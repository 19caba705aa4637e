"""Turns pydantic's errors into problems: a place and a sentence."""

import re

from pydantic import ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from shared.domain.errors import MAX_PROBLEMS, Problem
from shared.domain.timestamps import NOT_A_MOMENT, moment_us

MOMENT_SCHEMA = WithJsonSchema({"type": "string", "format": "date-time"})
"""The JSON schema of a member or parameter that `moment` checks."""
_SUBJECT = re.compile("^(?:Input|String|List) should")


def moment(value: object) -> int:
    """Convert an ISO 8601 member to microseconds since 1970; used as a pydantic validator."""
    if not isinstance(value, str):
        raise PydanticCustomError("moment", NOT_A_MOMENT)
    try:
        return moment_us(value)
    except ValueError as error:
        raise PydanticCustomError("moment", "{why}", {"why": str(error)}) from None


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
