"""The parameters of the queries, checked."""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from shared.parameters import WholeNumber
from shared.readings import MAX_SHIP
from shared.slots import Window
from shared.validation import moment

MAX_COUNT = 100_000
_DASHED_TIME = re.compile(r"^(\d{4}-?\d\d-?\d\dT\d\d)-(\d\d)(?:-(\d\d)|(?!:))")
_LOST_PLUS = re.compile(r" (?=\d\d(?::?\d\d)?$)")


def _moment(text: object) -> int:
    """Take a moment as URLs carry it: the time's parts joined by `:` or `-`, a `+` perhaps read as a space."""
    if isinstance(text, str):
        text = _DASHED_TIME.sub(lambda found: ":".join(part for part in found.groups() if part), text)
        text = _LOST_PLUS.sub("+", text) if "T" in text else text
    return moment(text)


MomentUs = Annotated[int, BeforeValidator(_moment)]


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

    spaceship_id: Annotated[WholeNumber, Field(ge=0, le=MAX_SHIP)]


class TopParameters(WindowParameters):
    """How many ships, in a window."""

    count: Annotated[WholeNumber, Field(ge=1, le=MAX_COUNT)] = 3
