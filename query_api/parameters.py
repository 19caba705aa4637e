"""The parameters of the queries, checked."""

import re
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from werkzeug.datastructures import MultiDict

from shared.errors import InvalidInput, Problem
from shared.readings import MAX_SHIP
from shared.slots import Window
from shared.validation import moment, problems

MAX_COUNT = 100_000
_DASHED_TIME = re.compile(r"^(\d{4}-?\d\d-?\d\dT\d\d)-(\d\d)(?:-(\d\d))?")
_LOST_PLUS = re.compile(r" (?=\d\d:?\d\d$)")


def _moment(text: object) -> int:
    """Take a moment as URLs carry it: the time's parts joined by `:` or `-`, a `+` perhaps read as a space."""
    if isinstance(text, str):
        text = _DASHED_TIME.sub(lambda found: ":".join(part for part in found.groups() if part), text)
        text = _LOST_PLUS.sub("+", text) if "T" in text else text
    return moment(text)


MomentUs = Annotated[int, BeforeValidator(_moment)]


class WindowParameters(BaseModel):
    """A window of time; a bound left out is open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: MomentUs | None = None
    end: MomentUs | None = None
    detail: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> "WindowParameters":
        if self.start is not None and self.end is not None and self.end < self.start:
            raise PydanticCustomError("order", "lies before start")
        return self

    @property
    def window(self) -> Window:
        """The window, widened to whole slots."""
        return Window.around(self.start, self.end)


class ShipParameters(WindowParameters):
    """One ship's window."""

    spaceship_id: Annotated[int, Field(ge=0, le=MAX_SHIP)]


class TopParameters(WindowParameters):
    """How many ships, in a window."""

    count: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 3


Parameters = TypeVar("Parameters", bound=WindowParameters)


def parse(model: type[Parameters], arguments: MultiDict[str, str]) -> Parameters:
    """Check the arguments of a request.

    Raises:
        InvalidInput: naming every parameter that is wrong, missing, unknown or given twice.

    """
    twice = [Problem(name, "is given more than once") for name, values in arguments.lists() if len(values) > 1]
    if twice:
        raise InvalidInput("the parameters are not valid", tuple(twice))
    try:
        return model.model_validate(arguments.to_dict())
    except ValidationError as error:
        found = [Problem("end" if each.at == "body" else each.at, each.problem) for each in problems(error)]
        raise InvalidInput("the parameters are not valid", tuple(found)) from None
