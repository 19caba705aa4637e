"""Validates the query parameters of a request, for all services."""

import re
from datetime import datetime
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError
from werkzeug.datastructures import MultiDict

from shared.contract.validation import MOMENT_SCHEMA, problems
from shared.domain.errors import InvalidInput, Problem
from shared.domain.timestamps import EPOCH, LAST_US, NOT_A_MOMENT, ONE_US, OUTSIDE, unbounded_us
from shared.http.zones import zone_name

_DIGITS = re.compile(r"-?\d+", re.ASCII)


def _whole_number(text: object) -> object:
    """Accept digits only: pydantic would also accept `1_0` and `1.0`."""
    if isinstance(text, str) and not _DIGITS.fullmatch(text):
        raise PydanticCustomError("whole_number", "should be a whole number")
    return text


DIGITS = BeforeValidator(_whole_number)
"""The last annotation of an integer parameter: `Annotated[int, Field(ge=0), DIGITS]`."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DASHED_TIME = re.compile(r"^(\d{4}-?\d\d-?\d\d[Tt ]\d\d)-(\d\d)(?:-(\d\d)|(?!:))")
_BLANK_BEFORE_OFFSET = re.compile(r"^(.{8,10}[Tt ]\d\d\S{0,40}) {1,2}([+-]?)(?=\d\d(?::?\d\d)?$)")


def _timestamp(text: object, info: ValidationInfo) -> int:
    """Convert a timestamp in a URL, as `_any_us` does."""
    us = _any_us(text, info)
    if not 0 <= us <= LAST_US:
        raise PydanticCustomError("moment", OUTSIDE)
    return us


def _end(text: object, info: ValidationInfo) -> int | None:
    """Convert the end of a window; None if it lies after the last timestamp, because then it limits nothing."""
    return None if _any_us(text, info) > LAST_US else _timestamp(text, info)


def _any_us(text: object, info: ValidationInfo) -> int:
    """Convert a timestamp of any year in a URL, as people write it, to microseconds since 1970.

    A date alone is its midnight in the time zone of the parameter `tz`. The parts of a time may be joined by `-`. There
    may be a blank before an offset, and its `+` may have been decoded to another one.
    """
    try:
        if isinstance(text, str) and _DATE.fullmatch(text):
            return _midnight_us(text, (info.context or {}).get("tz"))
        text = _DASHED_TIME.sub(lambda found: ":".join(part for part in found.groups() if part), str(text))
        return unbounded_us(_BLANK_BEFORE_OFFSET.sub(lambda found: f"{found[1]}{found[2] or '+'}", text))
    except ValueError:
        raise PydanticCustomError("moment", NOT_A_MOMENT) from None


def _midnight_us(date: str, zone: object) -> int:
    """Return when a date begins in a time zone, by default UTC; 1970 begins in 1970 in all of them."""
    midnight = datetime.fromisoformat(date).replace(tzinfo=ZoneInfo(zone_name(zone) or "UTC"))
    us = (midnight - EPOCH) // ONE_US
    return max(us, 0) if midnight.year >= EPOCH.year else us


TimestampUs = Annotated[int, BeforeValidator(_timestamp), MOMENT_SCHEMA]
EndUs = Annotated[int | None, BeforeValidator(_end), MOMENT_SCHEMA]
"""The end of a window, None if it is open."""
Parameters = TypeVar("Parameters", bound=BaseModel)


def parse(model: type[Parameters], arguments: MultiDict[str, str]) -> Parameters:
    """Validate the arguments of a request.

    Raises:
        InvalidInput: it lists every parameter that is invalid, missing, unknown or repeated.

    """
    repeated = [Problem(name, "is given more than once") for name, values in arguments.lists() if len(values) > 1]
    found: tuple[Problem, ...] = ()
    try:
        given = arguments.to_dict()
        parsed = model.model_validate(given, context=given)
    except ValidationError as error:
        found = problems(error)
    else:
        if not repeated:
            return parsed
    raise InvalidInput("the parameters are not valid", (*repeated, *found))
