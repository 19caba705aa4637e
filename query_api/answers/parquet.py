"""Writes rows as Parquet, one row group at a time. The only module that uses pyarrow."""

import os
from collections.abc import Iterable, Iterator
from io import BytesIO

import numpy as np

from query_api.answers.columns import WITH_UNITS, Column, Heading, Table, concat
from query_api.answers.rows import DECIMALS

# Arrow's other pools keep the memory that each thread has used. They also take it in pages of 2 MiB, and to clear these
# takes several times as long as to write a file. Arrow itself allocates from the pool that is named when it is loaded.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

import pyarrow as pa
from pyarrow import parquet as pq

ROWS = 30_000
"""Rows in a row group: a few MB."""
_TYPES = {"provisional": pa.bool_(), "ships": pa.int64(), "whole_ships": pa.int64(), "seconds": pa.int64()}
_MS = 1000


def pieces(parts: Iterable[Table], heading: Heading) -> Iterator[bytes]:
    """Write a file. `datetime` is in milliseconds, in the answer's time zone; numbers are rounded as in JSON."""
    timestamp = pa.timestamp("ms", tz=heading.tz)
    schema = pa.schema(
        [
            pa.field("datetime", timestamp, nullable=False),
            *(
                pa.field(WITH_UNITS.get(name, name), _TYPES.get(name, pa.float64()), nullable=False)
                for name in heading.names
            ),
        ],
        metadata={name: str(value) for name, value in heading.members.items()},
    )
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for group in _groups(parts):
            arrays = [pa.array(group["start_s"] * _MS, timestamp)]
            arrays += [pa.array(_rounded(group[name])) for name in heading.names]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=ROWS)
            yield sink.take()
    pa.default_memory_pool().release_unused()
    yield sink.take()


def _groups(parts: Iterable[Table]) -> Iterator[Table]:
    """Join parts until they have `ROWS` rows."""
    group: list[Table] = []
    for part in parts:
        group.append(part)
        if sum(len(each["start_s"]) for each in group) >= ROWS:
            yield concat(group)
            group = []
    if group:
        yield concat(group)


def _rounded(column: Column) -> Column:
    return np.round(column, DECIMALS) if column.dtype.kind == "f" else column


class _Sink(BytesIO):
    """A file that keeps what is written until it is taken."""

    def close(self) -> None:
        """Do nothing: the end of the file is taken after this."""

    def take(self) -> bytes:
        taken = self.getvalue()
        self.seek(0)
        self.truncate()
        return taken
