"""What all forecasts have in common: the parameters of the window ahead, and the rows of its slots."""

import re
from typing import Annotated, Any, ClassVar, NotRequired

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic requires it before Python 3.12

from query_api.answers.rows import Row, numbers, timestamp
from query_api.forecast.forecast import Forecast
from query_api.forecast.steps import DAY_S, DAYS
from shared.domain.slots import SLOT_S, Window
from shared.domain.timestamps import US_PER_S
from shared.http.openapi import Timestamp
from shared.http.parameters import TimestampUs

MAX_DAYS = 366
MAX_QUANTILES = 9
_UNITS_S = {"m": 60, "h": 3600, "d": DAY_S}
_HORIZON = re.compile(r"(\d{1,6})([mhd])", re.ASCII)
_NUMBER = re.compile(r"\d?\.\d{1,9}", re.ASCII)


def _horizon_s(text: object) -> int:
    """Convert a length, such as `24h`, to seconds."""
    found = _HORIZON.fullmatch(str(text))
    if found is None:
        raise PydanticCustomError("horizon", "should be a number of minutes, hours or days: 90m, 24h, 7d")
    length_s = int(found[1]) * _UNITS_S[found[2]]
    if length_s % SLOT_S:
        raise PydanticCustomError("horizon", "should be whole quarters of an hour")
    if not 0 < length_s <= DAYS * DAY_S:
        raise PydanticCustomError("horizon", "should be more than 0 and at most {days} days", {"days": DAYS})
    return length_s


def _shares(text: object) -> tuple[float, ...]:
    """Convert numbers that are joined by commas; each is kept once, in ascending order."""
    parts = str(text).split(",", MAX_QUANTILES)
    if len(parts) > MAX_QUANTILES:
        raise PydanticCustomError("quantiles", "should be at most {most} numbers", {"most": MAX_QUANTILES})
    shares = [float(part) if _NUMBER.fullmatch(part.strip()) else 0.0 for part in parts]
    if not all(0 < share < 1 for share in shares):
        raise PydanticCustomError("quantiles", "should be numbers between 0 and 1, joined by commas: 0.1,0.5,0.9")
    return tuple(sorted(set(shares)))


HorizonS = Annotated[
    int | None, BeforeValidator(_horizon_s), WithJsonSchema({"type": "string", "pattern": r"^\d{1,6}[mhd]$"})
]
Shares = Annotated[tuple[float, ...], BeforeValidator(_shares), WithJsonSchema({"type": "string"})]
Quantiles = Annotated[
    dict[str, float], Field(description="kWh by the share that lies below, e.g. `0.1`; only with `quantiles`")
]


class TrainedOn(TypedDict):
    """The slots that the model was trained on."""

    start: Timestamp
    end: Timestamp
    slots: int


class ExpectedSlot(TypedDict):
    """The expected energy of one slot, in kWh, with its 90 % interval."""

    datetime: Timestamp
    value: float
    lower: float
    upper: float
    quantiles: NotRequired[Quantiles]


class AheadParameters(BaseModel):
    """A window to forecast, as `start` and `end` or as `horizon`, and quantiles."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_days: ClassVar[int] = MAX_DAYS

    horizon: HorizonS = Field(
        None,
        description=f"Length of the window, in place of `end`: a number and `m`, `h` or `d`, at most {DAYS} days.",
        examples=["24h"],
    )
    start: TimestampUs | None = Field(
        None,
        validate_default=True,
        description="Start of the window. Only slots before it are used. With `horizon`, now if omitted.",
    )
    end: TimestampUs | None = Field(
        None, validate_default=True, description="End of the window; required without `horizon`."
    )
    quantiles: Shares = Field(
        default_factory=tuple,
        description=f"Adds these quantiles: at most {MAX_QUANTILES} numbers between 0 and 1, joined by commas.",
        examples=["0.1,0.5,0.9"],
    )

    @field_validator("start", "end")
    @classmethod
    def _is_given(cls, us: int | None, info: ValidationInfo) -> int | None:
        if us is None and info.data.get("horizon", 0) is None:  # 0: it is given, and wrong
            raise PydanticCustomError("missing", "is missing")
        return us

    @field_validator("end")
    @classmethod
    def _fits(cls, end: int | None, info: ValidationInfo) -> int | None:
        start = info.data.get("start")
        if end is not None and info.data.get("horizon") is not None:
            raise PydanticCustomError("twice", "is given, and horizon too: give one of them")
        if end is None or start is None:
            return end
        if end < start:
            raise PydanticCustomError("order", "lies before start")
        if end - start > cls.max_days * DAY_S * US_PER_S:
            raise PydanticCustomError("length", "lies more than {days} days after start", {"days": cls.max_days})
        return end

    def window(self, now_us: int) -> tuple[int, int]:
        """Return the window's start and end, widened to whole slots, in seconds since 1970."""
        around = Window.around(now_us if self.start is None else self.start, self.end)
        start_s = around.start_s or 0
        return start_s, around.end_s or 0 if self.horizon is None else start_s + self.horizon


def quantiles_row(shares: tuple[float, ...], kwh: list[Any]) -> Row:
    """Return the member `quantiles` of a row, if any are requested."""
    return {"quantiles": dict(zip(map(str, shares), kwh, strict=True))} if shares else {}


def trained_on(found: Forecast) -> Row:
    """Return the member `trained_on` of an answer."""
    start, end = timestamp(found.trained_from_s), timestamp(found.trained_to_s)
    return {"start": start, "end": end, "slots": found.slots}


def path_rows(found: Forecast, shares: tuple[float, ...]) -> list[Row]:
    """Return the expected energy of each slot."""
    path = found.path
    columns = (path.start_s.tolist(), *map(numbers, (path.kwh, path.lower, path.upper, *path.quantiles)))
    return [
        {
            "datetime": timestamp(start_s),
            "value": kwh,
            "lower": lower,
            "upper": upper,
            **quantiles_row(shares, quantiles),
        }
        for start_s, kwh, lower, upper, *quantiles in zip(*columns, strict=True)
    ]
