"""Writes rows as JSON, CSV or Parquet, one part at a time."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from query_api.answers.cells import Cells, joined, texts, timestamps
from query_api.answers.columns import WITH_UNITS, Heading, Table

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
    before = f'{{{members}"data":['.encode()
    for part in parts:
        start, *others = _columns(part, heading)
        row: list[bytes | Cells] = [b'{"datetime":"', start, b'"']
        for name, column in zip(heading.names, others, strict=True):
            row += [f',"{name}":'.encode(), column]
        yield before + joined([*row, b"},"])[:-1]
        before = b","
    yield (b"" if before == b"," else before) + b"]}"


def _csv(parts: Iterable[Table], heading: Heading) -> Iterator[bytes]:
    """Write CSV by RFC 4180; no value needs quotes."""
    before = (",".join(["datetime", *(WITH_UNITS.get(name, name) for name in heading.names)]) + "\r\n").encode()
    for part in parts:
        row = [each for column in _columns(part, heading) for each in (column, b",")]
        yield before + joined([*row[:-1], b"\r\n"])
        before = b""
    yield before


def _parquet(parts: Iterable[Table], heading: Heading) -> Iterator[bytes]:
    from query_api.answers import parquet  # noqa: PLC0415  # pyarrow takes time to import, and memory

    return parquet.pieces(parts, heading)


def _columns(part: Table, heading: Heading) -> list[Cells]:
    return [timestamps(part["start_s"], heading.tz), *(texts(part[name]) for name in heading.names)]


FORMATS = (
    Format("json", "application/json", "application/json", is_compressed=False, write=_json),
    Format("csv", "text/csv", "text/csv; charset=utf-8; header=present", is_compressed=False, write=_csv),
    Format(
        "parquet",
        "application/vnd.apache.parquet",
        "application/vnd.apache.parquet",
        is_compressed=True,
        write=_parquet,
    ),
)
"""The first is the default."""
