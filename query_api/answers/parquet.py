"""Rows as Parquet, a row group at a time; the only module that knows pyarrow."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from query_api.answers.columns import WITH_UNITS, Column, Heading, Table
from query_api.answers.rows import DECIMALS

ROWS = 30_000
"""In a row group: a few MB."""
_TYPES = {"provisional": pa.bool_(), "ships": pa.int64(), "whole_ships": pa.int64(), "seconds": pa.int64()}
_MS = 1000
pa.set_memory_pool(pa.system_memory_pool())  # the only one that gives back what each of many threads has used


def pieces(tables: Iterable[Table], heading: Heading) -> Iterator[bytes]:
    """Write a file: `datetime` is a moment in milliseconds, in the answer's zone; numbers are rounded as in JSON."""
    moment = pa.timestamp("ms", tz=heading.tz)
    schema = pa.schema(
        [
            pa.field("datetime", moment, nullable=False),
            *(
                pa.field(WITH_UNITS.get(name, name), _TYPES.get(name, pa.float64()), nullable=False)
                for name in heading.names
            ),
        ],
        metadata={name: str(value) for name, value in heading.members.items()},
    )
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for group in _groups(tables):
            arrays = [pa.array(group.start_s * _MS, moment)]
            arrays += [pa.array(_rounded(group.columns[name])) for name in heading.names]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=ROWS)
            yield sink.taken()
    pa.default_memory_pool().release_unused()
    yield sink.taken()


def _groups(tables: Iterable[Table]) -> Iterator[Table]:
    group: Table | None = None
    for table in tables:
        group = table if group is None else group.then(table)
        if len(group) >= ROWS:
            yield group
            group = None
    if group is not None:
        yield group


def _rounded(column: Column) -> Column:
    return np.round(column, DECIMALS) if column.dtype.kind == "f" else column


class _Sink:
    """Takes what is written until it is taken away."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """Leave the sink open for what is still to be taken."""

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)
