"""The models of a batch as it is sent, and the judge of its timestamps and values."""

from typing import Annotated, Any, NotRequired, cast
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from shared.contract.acceptance import Period, Rules, judged_at
from shared.contract.kinds import Duration, Units, WireStated
from shared.contract.limits import MAX_READINGS, MAX_VALUE
from shared.contract.validation import DATETIME_SCHEMA, MOMENT_SCHEMA, VALUE_SCHEMA, moment, number_of
from shared.domain.readings import MAX_SHIP

VALUE = "in `units`, or null where it is unknown; negative only where the service allows it"
Ship = Annotated[int, Field(strict=True, ge=0, le=MAX_SHIP)]


class Judge:
    """The context of the validators: rules, clock and the topic's ship."""

    __slots__ = ("_latest_us", "_now_us", "most", "raw", "rules", "topic_ship")

    def __init__(self, rules: Rules, now_us: int, topic_ship: int | None) -> None:
        """Begin; for the arguments see `receive`."""
        self.rules = rules
        self.topic_ship = topic_ship
        self.raw: object = None
        """The parsed JSON."""
        self.most = MAX_VALUE
        """The largest value in the batch's units."""
        self._now_us = now_us
        self._latest_us = now_us + rules.max_ahead_us

    def holds(self, first_us: int, last_us: int) -> bool:
        """Return whether all timestamps from `first_us` to `last_us` are accepted."""
        return first_us >= self.rules.oldest_us and (last_us <= self._latest_us or last_us <= self.period().latest_us)

    def period(self) -> Period:
        """Return the accepted period; for a batch over MQTT it depends on when the gateway accepted it.

        `accepted_at` is read only when a timestamp seems to be ahead of the clock, which is rare.
        """
        accepted_us = None if self.topic_ship is None else _accepted_us(self.raw)
        return self.rules.period(judged_at(self._now_us, accepted_us))


def _accepted_us(raw: object) -> int | None:
    """Return the `accepted_at` of a batch; None if it has none, or a wrong one."""
    try:
        return moment(raw.get("accepted_at")) if isinstance(raw, dict) else None
    except PydanticCustomError:
        return None


def _moment(value: object, info: ValidationInfo) -> int:
    judge: Any = info.context  # a `Judge`; a cast would take time
    us = moment(value)
    if judge.holds(us, us):
        return us
    raise PydanticCustomError("clock", "{why}", {"why": judge.period().fault(us)})


def _value(value: object, info: ValidationInfo) -> float | None:
    judge = cast("Judge", info.context)
    number = number_of(value)
    if number is None:
        return None
    least = -judge.most if judge.rules.allow_negative else 0.0
    if not least <= number <= judge.most:
        at_most = "less than or equal to" if number > least else "greater than or equal to"
        bound = judge.most if number > least else least
        raise PydanticCustomError("bounds", "should be {words} {bound}", {"words": at_most, "bound": f"{bound:.15g}"})
    return number


MomentUs = Annotated[int, PlainValidator(_moment), MOMENT_SCHEMA]


class WireReading(TypedDict):
    """One reading as it is sent."""

    datetime: Annotated[str | float, WithJsonSchema(DATETIME_SCHEMA)]
    value: Annotated[float | str | None, WithJsonSchema(VALUE_SCHEMA | {"description": VALUE})]
    duration_s: NotRequired[Annotated[Duration | None, Field(description="in place of that of the batch")]]


class CheckedReading(TypedDict):
    """One reading, checked in full."""

    datetime: MomentUs
    value: Annotated[float | None, BeforeValidator(_value)]
    duration_s: NotRequired[Duration | None]


class PlainBatch(BaseModel):
    """A batch that states nothing besides the unit of its values."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    units: Units
    spaceship_id: Ship
    data: Annotated[
        list[Any],
        Field(min_length=1, max_length=MAX_READINGS),
        WithJsonSchema(
            {
                "type": "array",
                "items": TypeAdapter(WireReading).json_schema(),
                "minItems": 1,
                "maxItems": MAX_READINGS,
            }
        ),
    ]
    batch_id: UUID | None = None
    sent_at: MomentUs | None = None


class WireBatch(PlainBatch, WireStated):
    """One batch as it is sent; other members are ignored, unless they look like misspelt ones."""


def _as_the_topic(ship: int, info: ValidationInfo) -> int:
    """Check that a message names the ship that its topic names."""
    judge: Any = info.context
    topic = judge.topic_ship
    if ship != topic:
        raise PydanticCustomError("topic", "is {ship}, but the topic names {topic}", {"ship": ship, "topic": topic})
    return ship


TopicShip = Annotated[Ship, AfterValidator(_as_the_topic)]
"""The ship of a batch whose topic already names it; -1 means the topic's ship, and no sender can send it."""


class PlainTopicBatch(PlainBatch):
    """A plain batch whose topic already names the ship."""

    spaceship_id: TopicShip = -1


class TopicBatch(WireBatch):
    """A batch whose topic already names the ship."""

    spaceship_id: TopicShip = -1


_MODELS: dict[tuple[bool, bool], type[PlainBatch]] = {
    (True, True): PlainTopicBatch,
    (True, False): TopicBatch,
    (False, True): PlainBatch,
    (False, False): WireBatch,
}
VALIDATE = {which: model.__pydantic_validator__.validate_python for which, model in _MODELS.items()}
"""By whether the topic names the ship, and whether the batch is plain.

Looking for seven members that are not there takes a fifth of the time; `model_validate` takes longer, too.
"""
MEMBERS = frozenset({*WireBatch.model_fields, "accepted_at"})
"""Those that a batch may have."""
PLAIN_MEMBERS = MEMBERS - WireStated.model_fields.keys() | {"units"}
"""Those of a batch that states nothing besides the unit of its values."""
USUAL = ("datetime", "value")
OF_READING = frozenset({*USUAL, "duration_s"})
"""The members that a reading may have, and those that nearly all have."""
