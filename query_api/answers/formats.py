"""The forms of an answer of many rows: JSON, CSV and Parquet, written a part at a time."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from query_api.answers.columns import WITH_UNITS, Heading, Table
from query_api.answers.rows import numbers

Name = Literal["json", "csv", "parquet"]


@dataclass(frozen=True, slots=True)
class Format:
    """One form.

    Attributes:
        name: its parameter.
        type: its media type.
        content_type: the same, with what more there is to say.
        is_packed: whether it is of no use to compress it.
        write: makes bytes of rows, piece by piece.

    """

    name: Name
    type: str
    content_type: str
    is_packed: bool
    write: Callable[[Iterable[Table], Heading], Iterator[bytes]]


def _json(tables: Iterable[Table], heading: Heading) -> Iterator[bytes]:
    members = "".join(f'"{name}":{json.dumps(value)},' for name, value in heading.members.items())
    row = "{" + ",".join(['"datetime":"%s"', *(f'"{name}":%s' for name in heading.names)]) + "}"
    before = f'{{{members}"data":['
    for table in tables:
        yield (before + ",".join(_lines(row, table, heading.names))).encode()
        before = ","
    yield (b"" if before == "," else before.encode()) + b"]}"


def _csv(tables: Iterable[Table], heading: Heading) -> Iterator[bytes]:
    """See RFC 4180; nothing of ours has to be quoted."""
    before = ",".join(["datetime", *(WITH_UNITS.get(name, name) for name in heading.names)]) + "\r\n"
    row = ",".join(["%s"] * (1 + len(heading.names))) + "\r\n"
    for table in tables:
        yield (before + "".join(_lines(row, table, heading.names))).encode()
        before = ""
    yield before.encode()


def _parquet(tables: Iterable[Table], heading: Heading) -> Iterator[bytes]:
    from query_api.answers.parquet import pieces  # noqa: PLC0415  # pyarrow takes a second and 70 MB, which not everybody needs

    return pieces(tables, heading)


def _lines(row: str, table: Table, names: tuple[str, ...]) -> Iterator[str]:
    columns = (_written(table, name) for name in names)
    return map(row.__mod__, zip(_moments(table), *columns, strict=True))


def _written(table: Table, name: str) -> list[Any]:
    column = table.columns[name]
    if column.dtype.kind == "b":
        return ["true" if each else "false" for each in column.tolist()]
    return numbers(column) if column.dtype.kind == "f" else column.tolist()


def _moments(table: Table) -> list[str]:
    if table.offset_s is None:
        return [f"{each}Z" for each in table.start_s.astype("datetime64[s]").astype(str).tolist()]
    local = (table.start_s + table.offset_s).astype("datetime64[s]").astype(str).tolist()
    offsets = table.offset_s.tolist()
    signs = {offset_s: _sign(offset_s) for offset_s in set(offsets)}
    return [each + signs[offset_s] for each, offset_s in zip(local, offsets, strict=True)]


def _sign(offset_s: int) -> str:
    minutes, seconds = divmod(abs(offset_s), 60)
    written = f"{'-' if offset_s < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
    return f"{written}:{seconds:02}" if seconds else written


FORMATS = (
    Format("json", "application/json", "application/json", is_packed=False, write=_json),
    Format("csv", "text/csv", "text/csv; charset=utf-8; header=present", is_packed=False, write=_csv),
    Format(
        "parquet",
        "application/vnd.apache.parquet",
        "application/vnd.apache.parquet",
        is_packed=True,
        write=_parquet,
    ),
)
"""The first is for those who say nothing."""
