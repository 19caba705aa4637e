"""The query parameters that several routes have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from shared.domain.readings import MAX_SHIP
from shared.domain.slots import Window
from shared.http.parameters import DIGITS, EndUs, TimestampUs

START = (
    "Start of the window, included; no limit if omitted. Hours, minutes and seconds may be joined by `-`; a date alone "
    "is its midnight."
)
END = "End of the window, excluded; no limit if omitted, or after 2199."
ShipId = Annotated[int, Field(ge=0, le=MAX_SHIP, examples=[1]), DIGITS]


class QueryParameters(BaseModel):
    """The parameters of every query about a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: TimestampUs | None = Field(None, description=START, examples=["2018-08-24T00:00:00Z"])


class Bounds(QueryParameters):
    """A range of time, without a limit where a bound is omitted."""

    end: EndUs = Field(None, description=END, examples=["2018-08-24T01:00:00Z"])

    @field_validator("end")
    @classmethod
    def _in_order(cls, end: int | None, info: ValidationInfo) -> int | None:
        start = info.data.get("start")
        if end is not None and start is not None and end < start:
            raise PydanticCustomError("order", "lies before start")
        return end


class WindowParameters(Bounds):
    """A window of slots."""

    detail: bool = Field(default=False, description="Adds to each row how complete it is.")

    @property
    def window(self) -> Window:
        """The range, widened to whole slots."""
        return Window.around(self.start, self.end)


class ShipPath(BaseModel):
    """A ship named in the path."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spaceship_id: ShipId
