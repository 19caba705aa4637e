"""The parameters of the queries, checked."""

import re
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from werkzeug.datastructures import MultiDict

from shared.errors import InvalidInput, Problem
from shared.readings import MAX_SHIP
from shared.slots import Window
from shared.validation import MOMENT_SCHEMA, moment, problems

MAX_COUNT = 100_000
_DASHED_TIME = re.compile(r"^(\d{4}-?\d\d-?\d\dT\d\d)-(\d\d)(?:-(\d\d)|(?!:))")
_DIGITS = re.compile(r"-?\d+", re.ASCII)
_LOST_PLUS = re.compile(r" (?=\d\d(?::?\d\d)?$)")


def _moment(text: object) -> int:
    """Take a moment as URLs carry it: the time's parts joined by `:` or `-`, a `+` perhaps read as a space."""
    if isinstance(text, str):
        text = _DASHED_TIME.sub(lambda found: ":".join(part for part in found.groups() if part), text)
        text = _LOST_PLUS.sub("+", text) if "T" in text else text
    return moment(text)


def _whole_number(text: object) -> object:
    """Take digits alone: pydantic would take `1_0` and `1.0` too."""
    if isinstance(text, str) and not _DIGITS.fullmatch(text):
        raise PydanticCustomError("whole_number", "should be a whole number")
    return text


MomentUs = Annotated[int, BeforeValidator(_moment), MOMENT_SCHEMA]
DIGITS = BeforeValidator(_whole_number)
ShipId = Annotated[int, Field(ge=0, le=MAX_SHIP), DIGITS]


class Bounds(BaseModel):
    """A stretch of time; a bound left out is open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: MomentUs | None = None
    end: MomentUs | None = None

    @field_validator("end")
    @classmethod
    def _in_order(cls, end: int | None, info: ValidationInfo) -> int | None:
        start = info.data.get("start")
        if end is not None and start is not None and end < start:
            raise PydanticCustomError("order", "lies before start")
        return end


class WindowParameters(Bounds):
    """A window of time."""

    detail: bool = False

    @property
    def window(self) -> Window:
        """The window, widened to whole slots."""
        return Window.around(self.start, self.end)


class ShipParameters(WindowParameters):
    """One ship's window."""

    spaceship_id: ShipId


class TopParameters(WindowParameters):
    """How many ships, in a window."""

    count: Annotated[int, Field(ge=1, le=MAX_COUNT), DIGITS] = 3


Parameters = TypeVar("Parameters", bound=BaseModel)


def parse(model: type[Parameters], arguments: MultiDict[str, str]) -> Parameters:
    """Check the arguments of a request.

    Raises:
        InvalidInput: naming every parameter that is wrong, missing, unknown or given twice.

    """
    twice = [Problem(name, "is given more than once") for name, values in arguments.lists() if len(values) > 1]
    found: tuple[Problem, ...] = ()
    try:
        parsed = model.model_validate(arguments.to_dict())
    except ValidationError as error:
        found = problems(error)
    else:
        if not twice:
            return parsed
    raise InvalidInput("the parameters are not valid", (*twice, *found))
