"""Writes rows as JSON, CSV or Parquet, one part at a time."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from query_api.answers import parquet
from query_api.answers.calendar import offsets_s
from query_api.answers.columns import WITH_UNITS, Column, Heading, Table
from query_api.answers.rows import numbers
from shared.domain.columns import I64

Name = Literal["json", "csv", "parquet"]


@dataclass(frozen=True, slots=True)
class Format:
    """One format of an answer.

    Attributes:
        name: its value of the parameter `format`.
        type: its media type.
        content_type: the media type with its parameters.
        is_compressed: whether gzip would not make it smaller.
        write: writes rows as bytes, piece by piece.

    """

    name: Name
    type: str
    content_type: str
    is_compressed: bool
    write: Callable[[Iterable[Table], Heading], Iterator[bytes]]


def _json(parts: Iterable[Table], heading: Heading) -> Iterator[bytes]:
    members = "".join(f'"{name}":{json.dumps(value)},' for name, value in heading.members.items())
    row = "{" + ",".join(['"datetime":"%s"', *(f'"{name}":%s' for name in heading.names)]) + "}"
    before = f'{{{members}"data":['
    for part in parts:
        yield (before + ",".join(_lines(row, part, heading))).encode()
        before = ","
    yield (b"" if before == "," else before.encode()) + b"]}"


def _csv(parts: Iterable[Table], heading: Heading) -> Iterator[bytes]:
    """Write CSV by RFC 4180; no value needs quotes."""
    before = ",".join(["datetime", *(WITH_UNITS.get(name, name) for name in heading.names)]) + "\r\n"
    row = ",".join(["%s"] * (1 + len(heading.names))) + "\r\n"
    for part in parts:
        yield (before + "".join(_lines(row, part, heading))).encode()
        before = ""
    yield before.encode()


def _lines(row: str, part: Table, heading: Heading) -> Iterator[str]:
    columns = (_texts(part[name]) for name in heading.names)
    return map(row.__mod__, zip(_timestamps(part["start_s"], heading.tz), *columns, strict=True))


def _texts(column: Column) -> list[Any]:
    if column.dtype.kind == "b":
        return ["true" if each else "false" for each in column.tolist()]
    return numbers(column) if column.dtype.kind == "f" else column.tolist()


def _timestamps(start_s: I64, tz: str) -> list[str]:
    if tz == "UTC":
        utc: list[str] = np.datetime_as_string(start_s.astype("datetime64[s]"), timezone="UTC").tolist()
        return utc
    offset_s = offsets_s(tz, start_s)
    local = (start_s + offset_s).astype("datetime64[s]").astype(str).tolist()
    offsets = offset_s.tolist()
    texts = {each: _offset(each) for each in set(offsets)}
    return [each + texts[offset] for each, offset in zip(local, offsets, strict=True)]


def _offset(offset_s: int) -> str:
    """Write a UTC offset, with seconds where it has them."""
    minutes, seconds = divmod(abs(offset_s), 60)
    text = f"{'-' if offset_s < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{seconds:02}" if seconds else text


FORMATS = (
    Format("json", "application/json", "application/json", is_compressed=False, write=_json),
    Format("csv", "text/csv", "text/csv; charset=utf-8; header=present", is_compressed=False, write=_csv),
    Format(
        "parquet",
        "application/vnd.apache.parquet",
        "application/vnd.apache.parquet",
        is_compressed=True,
        write=parquet.pieces,
    ),
)
"""The first is the default."""
