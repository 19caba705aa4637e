"""The parameters of the queries, checked."""

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from query_api.answers.calendar import Coarse, zone_names
from query_api.answers.formats import Name
from shared.contract.validation import MOMENT_SCHEMA, moment
from shared.domain.readings import MAX_SHIP
from shared.domain.slots import Window
from shared.http.parameters import DIGITS

MAX_COUNT = 100_000
_DASHED_TIME = re.compile(r"^(\d{4}-?\d\d-?\d\dT\d\d)-(\d\d)(?:-(\d\d)|(?!:))")
_LOST_PLUS = re.compile(r" (?=\d\d(?::?\d\d)?$)")


def _moment(text: object) -> int:
    """Take a moment as URLs carry it: the time's parts joined by `:` or `-`, a `+` perhaps read as a space."""
    if isinstance(text, str):
        text = _DASHED_TIME.sub(lambda found: ":".join(part for part in found.groups() if part), text)
        text = _LOST_PLUS.sub("+", text) if "T" in text else text
    return moment(text)


def _zone(name: object) -> object:
    if name not in zone_names():
        raise PydanticCustomError("zone", "should be a time zone's name, such as Europe/Berlin")
    return name


MomentUs = Annotated[int, BeforeValidator(_moment), MOMENT_SCHEMA]
START = "from here on; open where it is left out; the time's parts may be joined by `-`, too"
END = "up to here, and not with it; open where it is left out"
ShipId = Annotated[int, Field(ge=0, le=MAX_SHIP, examples=[1]), DIGITS]


class QueryParameters(BaseModel):
    """What all of them have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: MomentUs | None = Field(None, description=START, examples=["2018-08-24T00:00:00Z"])


class Bounds(QueryParameters):
    """A stretch of time; a bound left out is open."""

    end: MomentUs | None = Field(None, description=END, examples=["2018-08-24T01:00:00Z"])

    @field_validator("end")
    @classmethod
    def _in_order(cls, end: int | None, info: ValidationInfo) -> int | None:
        start = info.data.get("start")
        if end is not None and start is not None and end < start:
            raise PydanticCustomError("order", "lies before start")
        return end


class WindowParameters(Bounds):
    """A window of time."""

    detail: bool = Field(default=False, description="adds what is known of each row")

    @property
    def window(self) -> Window:
        """The window, widened to whole slots."""
        return Window.around(self.start, self.end)


class SlotParameters(WindowParameters):
    """How the slots of a window are wanted."""

    resolution: Literal["15m", "1h", "1d", "1mo"] = Field(
        "15m", description="What each row is over: a slot, or an hour, a day or a month of local time."
    )
    tz: Annotated[str, BeforeValidator(_zone)] = Field(
        "UTC", description="The IANA name of the time zone that `datetime` is written in, and whose days are counted."
    )
    format: Name | None = Field(None, description="The form of the answer; it wins over the header `Accept`.")

    @property
    def coarse(self) -> Coarse | None:
        """The resolution, unless that is the slots themselves."""
        return None if self.resolution == "15m" else self.resolution

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.tz)


class ShipParameters(SlotParameters):
    """One ship's slots."""

    spaceship_id: ShipId


class TopParameters(WindowParameters):
    """How many ships, in a window."""

    count: Annotated[int, Field(ge=1, le=MAX_COUNT), DIGITS] = 3


class StreamParameters(QueryParameters):
    """From where on one ship's slots are told."""

    spaceship_id: ShipId

    @property
    def window(self) -> Window:
        """All from the slot that holds `start`."""
        return Window.around(self.start, None)
