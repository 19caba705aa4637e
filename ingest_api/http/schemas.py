"""What the gateway takes and gives, as its API pages show it."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from shared.contract.batch import WireBatch
from shared.http.openapi import JSON, RETRY_AFTER, Answer, Fault, Operation, problem

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


class Accepted(BaseModel):
    """What has become of a batch so far."""

    batch_id: UUID
    status: Literal["accepted", "stored"]
    readings: int = Field(description="how many were sent")


class Told(BaseModel):
    """What became of a batch."""

    batch_id: UUID
    spaceship_id: int
    status: Literal["accepted", "stored", "rejected"]
    readings: int = Field(description="how many were sent")
    errors: list[Fault] = Field(description="why it was rejected")


class BatchPath(BaseModel):
    """The name of a batch."""

    batch_id: UUID = Field(examples=[BATCH_ID])


class Preference(BaseModel):
    """How the sender would like to be answered."""

    prefer: str | None = Field(
        None,
        alias="Prefer",
        description="`wait=S` (RFC 7240): answer when the batch is stored, after at most S seconds, up to 30",
        examples=["wait=10"],
    )


_LOCATION = {"Location": "where its state is told: `/batches/{batch_id}`"}
_HEEDED = {**_LOCATION, "Preference-Applied": "that `Prefer` was heeded"}
_ACCEPTED = {"batch_id": BATCH_ID, "status": "accepted", "readings": 2}

ACCEPT = Operation(
    method="POST",
    path="/data",
    name="send",
    summary="Send a batch of readings",
    description=(
        "Taken whole or not at all. A batch that was answered 201 or 202 reaches the store, and counts once however "
        "often it is sent. `Content-Encoding: gzip` is taken; at most 8 MiB, unpacked too."
    ),
    headers=Preference,
    body=WireBatch,
    body_example=BATCH,
    answers={
        201: Answer("It is stored, and can be read.", {JSON: Accepted}, _HEEDED, {**_ACCEPTED, "status": "stored"}),
        202: Answer("It is durably accepted, and will be stored.", {JSON: Accepted}, _HEEDED, _ACCEPTED),
        400: problem("The body is not JSON, or not the gzip that it is said to be."),
        409: problem("Another batch of this ship, or of another one of the same sender, has this `batch_id`."),
        413: problem("More than 8 MiB, as sent or unpacked."),
        415: problem("Another content type than JSON, or another encoding than gzip."),
        422: problem("JSON, but not a valid batch; or the worker has rejected it."),
        503: problem("It cannot be accepted durably: try again.", RETRY_AFTER),
    },
)

TELL = Operation(
    path="/batches/<batch_id>",
    name="batch",
    summary="What became of a batch",
    description="For two days after that was decided, and for as long as it waits.",
    path_parameters=BatchPath,
    answers={
        200: Answer(
            "What is known of it.",
            {JSON: Told},
            example={**_ACCEPTED, "status": "stored", "spaceship_id": 1, "errors": []},
        ),
        404: problem("Nobody sent a batch of that name, it is forgotten, or the token is not for its ship."),
    },
)

OPERATIONS = (ACCEPT, TELL)
