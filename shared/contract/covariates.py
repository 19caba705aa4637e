"""The wire format of covariates: a table with `covariates` in the place of `units` and `data`."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError, to_json

from shared.contract.acceptance import Rules
from shared.contract.batch import Batch, without_readings
from shared.contract.decoding import InvalidBatch, batch_id_in, parsed
from shared.contract.limits import (
    MAX_BODY_BYTES,
    MAX_COVARIATE_AHEAD_S,
    MAX_COVARIATE_ROWS,
    MAX_COVARIATES,
    MAX_MESSAGE_BYTES,
    MAX_VALUE,
)
from shared.contract.misspelt import misspelt
from shared.contract.validation import DATETIME_SCHEMA, moment, number_of, problems
from shared.contract.wire import Judge, MomentUs, Ship
from shared.domain.covariates import NO_ROWS, TIMESTAMPS, Covariates, Table
from shared.domain.errors import MAX_PROBLEMS, Problem, TooLargeInput
from shared.domain.timestamps import US_PER_S, iso

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}", re.ASCII)
_NOT_A_NAME = "is not a name of at most 32 letters, digits and _, of which the first is a letter"
_LEFT_OUT = ("units", "data", "delete")


def _number(value: object) -> float | None:
    number = number_of(value)
    if number is not None and not -MAX_VALUE <= number <= MAX_VALUE:
        raise PydanticCustomError("bounds", "should be from -{most} to {most}", {"most": f"{MAX_VALUE:.15g}"})
    return number


class CovariateRow(BaseModel):
    """What is known of a moment: numbers by their names. One that is null or left out is unknown."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[float | None, BeforeValidator(_number)]]

    datetime: Annotated[int, BeforeValidator(moment), WithJsonSchema(DATETIME_SCHEMA)]


_VALIDATE_ROW = CovariateRow.__pydantic_validator__.validate_python


class WireCovariates(BaseModel):
    """A ship's table of covariates."""

    model_config = ConfigDict(extra="ignore")

    covariates: Annotated[
        list[Any],
        Field(max_length=MAX_COVARIATE_ROWS),
        WithJsonSchema({"type": "array", "items": CovariateRow.model_json_schema(), "maxItems": MAX_COVARIATE_ROWS}),
    ]
    spaceship_id: Ship | None = None
    batch_id: UUID | None = None
    sent_at: MomentUs | None = None


def receive(payload: bytes, rules: Rules, now_us: int, ship: int) -> Batch:
    """Decode the table that a client sends for a ship; for the arguments and errors see `decoding.receive`."""
    judge = Judge(rules, now_us, None)
    raw = parsed(payload, judge)
    return checked(raw, judge, ship, named_by="path")


def checked(raw: object, judge: Judge, ship: int, named_by: str = "topic") -> Batch:
    """Check the parsed JSON of a table, which `judge.raw` is, too; `named_by` is what names the ship.

    Raises:
        InvalidBatch: not a valid table; its problems say where and why.

    """
    members: dict[str, Any] = raw if isinstance(raw, dict) else {}
    known = {*WireCovariates.model_fields, *_LEFT_OUT}
    found = list(misspelt(members, known))
    found += [Problem(name, "is no part of covariates") for name in _LEFT_OUT if members.get(name) is not None]
    try:
        wire = WireCovariates.model_validate(raw, context=judge)
    except ValidationError as error:
        raise InvalidBatch((*found, *problems(error)), batch_id_in(members)) from None
    if wire.spaceship_id not in (None, ship):
        found.append(Problem("spaceship_id", f"is {wire.spaceship_id}, but the {named_by} names {ship}"))
    rows = list[CovariateRow]()
    found += islice(_read(wire.covariates, rows), MAX_PROBLEMS)
    found += islice(_faults(rows, judge), MAX_PROBLEMS)
    if found:
        raise InvalidBatch(tuple(found), wire.batch_id)
    return without_readings(ship, wire.batch_id, wire.sent_at, covariates=_table(rows).content())


def _read(raw: list[Any], rows: list[CovariateRow]) -> Iterator[Problem]:
    """Read rows one by one, and return what is wrong with them: how many are read depends on how many are wrong."""
    for i, row in enumerate(raw):
        at = f"covariates[{i}]"
        if isinstance(row, dict) and len(row) > 1 + MAX_COVARIATES:
            yield Problem(at, f"has more than {MAX_COVARIATES} numbers")
            continue
        try:
            rows.append(_VALIDATE_ROW(row))
        except ValidationError as error:
            yield from problems(error, inside=at)


def _faults(rows: list[CovariateRow], judge: Judge) -> Iterator[Problem]:
    """Find the names and timestamps that are not accepted."""
    names = set[str]()
    for i, row in enumerate(rows):
        new = sorted(row.__pydantic_extra__.keys() - names)
        yield from (Problem(f"covariates[{i}].{name}", _NOT_A_NAME) for name in new if not _NAME.fullmatch(name))
        names.update(new)
    if len(names) > MAX_COVARIATES:
        yield Problem("covariates", f"has {len(names)} different names, more than {MAX_COVARIATES}")
    period = judge.period()
    latest_us = max(period.latest_us, period.now_us + MAX_COVARIATE_AHEAD_S * US_PER_S)
    period = period._replace(latest_us=latest_us)
    for i, row in enumerate(rows):
        if fault := period.fault(row.datetime):
            yield Problem(f"covariates[{i}].datetime", fault)


def _table(rows: list[CovariateRow]) -> Table:
    """Return the rows as columns; of several with one timestamp, the last one counts."""
    found = [row for _, row in sorted({row.datetime: row for row in rows}.items())]
    names = {name for row in found for name, value in row.__pydantic_extra__.items() if value is not None}
    values = {name: np.array([row.__pydantic_extra__.get(name) for row in found], np.float64) for name in names}
    return Table(np.array([row.datetime for row in found], np.int64), values)


def message(batch: Batch, batch_id: UUID, sent_at_us: int | None, accepted_us: int) -> bytes:
    """Return a table as JSON; `accepted_at` comes first, as in `Received.message`.

    Raises:
        TooLargeInput: it has more than `MAX_MESSAGE_BYTES`.

    """
    sent_at = {} if sent_at_us is None else {"sent_at": iso(sent_at_us)}
    rows = rows_of(Covariates(batch.ship, 0, batch.covariates or NO_ROWS))
    members = {"accepted_at": iso(accepted_us), "spaceship_id": batch.ship, "batch_id": batch_id, **sent_at}
    found = to_json({**members, "covariates": rows})
    if len(found) > MAX_MESSAGE_BYTES:
        raise TooLargeInput(f"the table has more than {MAX_BODY_BYTES} bytes as it is sent on: use shorter names")
    return found


def rows_of(covariates: Covariates) -> list[dict[str, Any]]:
    """Return a table as it is sent, row by row; whole numbers have no fraction."""
    moment_us, values = covariates.table()
    rows: list[dict[str, Any]] = [{TIMESTAMPS: iso(us)} for us in moment_us.tolist()]
    for name, column in values.items():
        for row, value in zip(rows, column.tolist(), strict=True):
            if value == value:  # noqa: PLR0124  # not NaN
                row[name] = int(value) if value.is_integer() else value
    return rows
