"""The fastest encoders among the service's own dependencies, as the baseline of its answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet
from pydantic_core import to_json

SlotRows = Sequence[Sequence[float]]
"""A slot each: its start in seconds, and its energy in kWh."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes rows as they are read: no timestamps are formatted and no numbers rounded."""

    name: str
    encode: Callable[[SlotRows], object]


def _table(rows: SlotRows) -> pa.Table:
    columns = np.fromiter(map(tuple, rows), np.dtype("i8, f8"))
    return pa.table({name: columns[name].copy() for name in ("f0", "f1")})


def _csv(rows: SlotRows) -> object:
    sink = pa.BufferOutputStream()
    csv.write_csv(_table(rows), sink)
    return sink.getvalue()


def _parquet(rows: SlotRows) -> object:
    sink = pa.BufferOutputStream()
    parquet.write_table(_table(rows), sink, compression="zstd")
    return sink.getvalue()


ENCODERS: Mapping[str, Encoder] = {
    "json": Encoder("pydantic-core's to_json", to_json),
    "csv": Encoder("pyarrow's write_csv", _csv),
    "parquet": Encoder("pyarrow's write_table", _parquet),
}
"""By the `format` of an answer."""
