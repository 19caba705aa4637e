"""The gateway's operations, as the OpenAPI document describes them."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from shared.contract.covariates import WireCovariates
from shared.contract.limits import (
    MAX_BATCHES,
    MAX_BODY_BYTES,
    MAX_COVARIATE_AHEAD_S,
    MAX_COVARIATE_ROWS,
    MAX_COVARIATES,
    MAX_READINGS,
    MAX_WAIT_S,
)
from shared.contract.wire import WireBatch
from shared.domain.readings import MAX_SHIP
from shared.http.openapi import JSON, RETRY_AFTER, Answer, Fault, Operation, problem
from shared.http.parameters import DIGITS, TimestampUs

BATCH_ID = "db6a542d-ee04-46d6-b191-020d993daed3"
BATCH = {
    "batch_id": BATCH_ID,
    "spaceship_id": 1,
    "units": "kWh",
    "data": [
        {"datetime": "2018-08-24T00:00:00Z", "value": 12},
        {"datetime": "2018-08-24T01:00:00Z", "value": 8},
    ],
}


Superseded = Annotated[
    int, Field(description="how many of them do not count; left out where it is 0, or not yet known")
]


class Accepted(BaseModel):
    """The answer to a POST."""

    batch_id: UUID
    status: Literal["accepted", "stored"]
    readings: int = Field(description="how many were sent")
    superseded: Superseded = 0


class AllAccepted(BaseModel):
    """The answer to a POST of several batches."""

    status: Literal["accepted", "stored"]
    readings: int = Field(description="how many were sent, in all batches")
    batches: list[Accepted] = Field(description="in the order of the body")


class Status(BaseModel):
    """The status of a batch."""

    batch_id: UUID
    spaceship_id: int
    status: Literal["accepted", "stored", "rejected"]
    readings: int = Field(description="how many were sent")
    superseded: Superseded = 0
    errors: list[Fault] = Field(description="why it was rejected")


class Batches(RootModel[WireBatch | Annotated[list[WireBatch], Field(min_length=1, max_length=MAX_BATCHES)]]):
    """A batch, or several."""


class AnyAccepted(RootModel[Accepted | AllAccepted]):
    """The answer to a POST of a batch, or of several."""


class BatchPath(BaseModel):
    """Identifies a batch."""

    batch_id: UUID = Field(examples=[BATCH_ID])


class Preference(BaseModel):
    """When the sender prefers to be answered."""

    prefer: str | None = Field(
        None,
        alias="Prefer",
        description=(
            f"`wait=S` (RFC 7240): answer when the batch is stored, after at most S seconds, up to {MAX_WAIT_S}"
        ),
        examples=["wait=10"],
    )


class ShipPath(BaseModel):
    """Identifies a ship."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spaceship_id: Annotated[int, Field(ge=0, le=MAX_SHIP, examples=[1]), DIGITS]


class DeletionParameters(ShipPath):
    """Which readings to delete."""

    start: TimestampUs = Field(description="start of the span, included", examples=["2018-08-24T00:00:00Z"])
    end: TimestampUs = Field(description="end of the span, excluded", examples=["2018-08-24T01:00:00Z"])
    batch_id: UUID | None = Field(None, description="the same for every repeat; made where it is left out")

    @field_validator("end")
    @classmethod
    def _in_order(cls, end: int, info: ValidationInfo) -> int:
        if end <= info.data.get("start", -1):
            raise PydanticCustomError("order", "is not after start")
        return end


NDJSON = "application/x-ndjson"
_LOCATION = {"Location": "where to get the status of a single batch: `/batches/{batch_id}`"}
_HEEDED = {**_LOCATION, "Preference-Applied": "`Prefer` was applied"}
_ACCEPTED = {"batch_id": BATCH_ID, "status": "accepted", "readings": 2}

ACCEPT = Operation(
    method="POST",
    path="/data",
    name="send",
    summary="Send a batch of readings, or several",
    description=(
        "A body is accepted whole or not at all. A batch that was answered 201 or 202 reaches the store, and counts "
        "once however often it is sent. `Content-Encoding: gzip` is accepted. The body has at most "
        f"{MAX_BODY_BYTES // 2**20} MiB, before and after unpacking. Several batches are a JSON array, or one per line "
        f"as NDJSON: at most {MAX_BATCHES:,}, and {MAX_READINGS:,} readings in all."
    ),
    headers=Preference,
    body=Batches,
    body_example=BATCH,
    other_bodies={NDJSON: {"type": "string", "description": "one batch as JSON on each line"}},
    answers={
        201: Answer("All is stored, and can be read.", {JSON: AnyAccepted}, _HEEDED, {**_ACCEPTED, "status": "stored"}),
        202: Answer("All is durably accepted, and will be stored.", {JSON: AnyAccepted}, _HEEDED, _ACCEPTED),
        400: problem("The body is not JSON, or not valid gzip although its headers say so."),
        409: problem("Another batch of this ship, or of another ship of the same sender, has this `batch_id`."),
        413: problem(f"The body has more than {MAX_BODY_BYTES // 2**20} MiB, before or after unpacking."),
        415: problem("The content type is neither JSON nor NDJSON, or the encoding is not gzip."),
        422: problem("The body is JSON but not a valid batch, or the worker rejected the batch."),
        503: problem("The batch cannot be accepted durably now: try again.", RETRY_AFTER),
    },
)

DELETE = Operation(
    method="DELETE",
    path="/data",
    name="delete",
    summary="Delete a ship's readings in a span of time",
    description=(
        "Deletes the readings that were sent until now; readings that are sent afterwards count again. A deletion is "
        "accepted and delivered like a batch, and has a `batch_id` and a receipt."
    ),
    headers=Preference,
    query=DeletionParameters,
    answers={
        201: Answer(
            "The readings are deleted.", {JSON: Accepted}, _HEEDED, {**_ACCEPTED, "status": "stored", "readings": 0}
        ),
        202: Answer("The deletion is durably accepted.", {JSON: Accepted}, _HEEDED, {**_ACCEPTED, "readings": 0}),
        409: problem("Another batch of this ship, or of another ship of the same sender, has this `batch_id`."),
        503: problem("The deletion cannot be accepted durably now: try again.", RETRY_AFTER),
    },
)

PUT_COVARIATES = Operation(
    method="PUT",
    path="/ships/<spaceship_id>/covariates",
    name="put_covariates",
    summary="Replace a ship's table of covariates, such as its planned speed",
    description=(
        "Forecasts use it where that helps. A table replaces the one before; one without rows removes it. Each row has "
        f"a `datetime`, up to {MAX_COVARIATE_AHEAD_S // 86_400} days ahead, and a number for each name: at most "
        f"{MAX_COVARIATES} different names and {MAX_COVARIATE_ROWS:,} rows. A table is accepted and delivered like a "
        "batch, and has a `batch_id` and a receipt. Of several, the one sent last counts."
    ),
    path_parameters=ShipPath,
    headers=Preference,
    body=WireCovariates,
    body_example={
        "covariates": [
            {"datetime": "2018-08-24T00:00:00Z", "planned_speed": 14, "air_temperature": 8.5},
            {"datetime": "2018-08-24T06:00:00Z", "planned_speed": 0, "air_temperature": 11},
        ]
    },
    answers={
        201: Answer(
            "The table is stored.", {JSON: Accepted}, _HEEDED, {**_ACCEPTED, "status": "stored", "readings": 0}
        ),
        202: Answer("The table is durably accepted.", {JSON: Accepted}, _HEEDED, {**_ACCEPTED, "readings": 0}),
        400: ACCEPT.answers[400],
        409: ACCEPT.answers[409],
        413: ACCEPT.answers[413],
        415: problem("The content type is not JSON, or the encoding is not gzip."),
        422: problem("The body is JSON but not a valid table, or the worker rejected it."),
        503: problem("The table cannot be accepted durably now: try again.", RETRY_AFTER),
    },
)

STATUS = Operation(
    path="/batches/<batch_id>",
    name="batch",
    summary="Get the status of a batch",
    description="The status is known while the batch waits, and for two days after it was stored or rejected.",
    path_parameters=BatchPath,
    answers={
        200: Answer(
            "The status of the batch.",
            {JSON: Status},
            example={**_ACCEPTED, "status": "stored", "spaceship_id": 1, "errors": []},
        ),
        404: problem("The `batch_id` is unknown, its status is no longer kept, or the token is not for its ship."),
    },
)

OPERATIONS = (ACCEPT, DELETE, PUT_COVARIATES, STATUS)
