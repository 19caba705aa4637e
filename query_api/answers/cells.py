"""Columns as text: arrays of cells of one width, with NUL bytes in all unused places, which `joined` leaves out.

numpy writes a column at once, which takes a tenth of the time of writing its values one by one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from query_api.answers.calendar import DAY_S, offsets_s
from query_api.answers.columns import Column
from query_api.answers.rows import DECIMALS, numbers
from shared.domain.columns import I64

Cells = NDArray[np.bytes_]
PER_UNIT = 10**DECIMALS
LEAST_PLAIN = 100
"""Python writes smaller millionths as `9.9e-05`."""
MOST_PLAIN = 10**15
"""Up to here a float has the digits that were rounded to, and no others."""
FEW = 50
"""Fewer values are written faster one by one."""
_MINUTES = np.array([f"T{minute // 60:02}:{minute % 60:02}" for minute in range(DAY_S // 60)], "S")
_SECONDS = np.array([f":{second:02}" for second in range(60)], "S")


def joined(row: Sequence[bytes | Cells]) -> bytes:
    """Write rows: each consists of the constant texts and of its cells of the columns, in this order."""
    return _beside(row).tobytes().translate(None, b"\0")


def texts(column: Column) -> Cells:
    """Write a column of numbers, as `number` rounds them and Python writes them, or of `true` and `false`."""
    if column.dtype.kind == "b":
        return np.where(column, b"true", b"false")
    millionths = np.rint(column * float(PER_UNIT)) if len(column) >= FEW else None
    if millionths is None or not _are_plain(millionths):
        return np.array([str(each) for each in numbers(column)], "S")
    return _decimals(millionths.astype(np.int64))


def timestamps(start_s: I64, tz: str) -> Cells:
    """Write timestamps, in seconds since 1970, with the UTC offset of a time zone."""
    if tz == "UTC" and len(start_s) < FEW:
        return np.datetime_as_string(start_s.astype("datetime64[s]"), timezone="UTC").astype("S20")
    if tz == "UTC":
        return _local(start_s, np.full(len(start_s), b"Z"))
    offset_s = offsets_s(tz, start_s)
    known, which = np.unique(offset_s, return_inverse=True)
    return _local(start_s + offset_s, np.array([_offset(each) for each in known.tolist()], "S")[which])


def _are_plain(millionths: NDArray[np.float64]) -> bool:
    size = np.abs(millionths)
    return bool(((size < MOST_PLAIN) & ((size >= LEAST_PLAIN) | (size == 0))).all())


def _decimals(millionths: I64) -> Cells:
    """Write whole millionths as decimal numbers, without zeros at the end."""
    whole, fraction = (each.astype(np.int32) for each in np.divmod(np.abs(millionths), PER_UNIT))
    width = len(str(whole.max()))
    text = np.zeros((len(millionths), 1 + width + 1 + DECIMALS), np.uint8)
    text[:, 0] = np.where(millionths < 0, ord("-"), 0)
    is_last = True
    for at in range(width, 0, -1):
        digit = _last_digit(whole)
        text[:, at] = digit if is_last else np.where(whole > 0, digit, 0)
        whole, is_last = whole // 10, False
    text[:, width + 1] = np.where(fraction > 0, ord("."), 0)
    is_zero = np.ones(len(fraction), np.bool_)  # from this digit on
    for at in range(width + 1 + DECIMALS, width + 1, -1):
        digit = _last_digit(fraction)
        is_zero &= digit == ord("0")
        text[:, at] = np.where(is_zero, 0, digit)
        fraction = fraction // 10
    return text.view(f"S{text.shape[1]}").ravel()


def _last_digit(values: NDArray[np.int32]) -> NDArray[np.uint8]:
    return (values - values // 10 * 10 + ord("0")).astype(np.uint8)


def _local(local_s: I64, offset: Cells) -> Cells:
    day, second = np.divmod(local_s, DAY_S)
    first = day.min()
    days = np.arange(first, day.max() + 1).astype("datetime64[D]").astype("S10")
    table = _beside([days[day - first], _MINUTES[second // 60], _SECONDS[second % 60], offset])
    return table.view(f"S{table.itemsize}")


def _offset(offset_s: int) -> str:
    """Write a UTC offset, with seconds where it has them."""
    minutes, seconds = divmod(abs(offset_s), 60)
    text = f"{'-' if offset_s < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{seconds:02}" if seconds else text


def _beside(columns: Sequence[bytes | Cells]) -> NDArray[np.void]:
    """Put columns of text beside each other; a constant one is repeated."""
    n = next(len(each) for each in columns if not isinstance(each, bytes))
    widths = [len(each) if isinstance(each, bytes) else each.itemsize for each in columns]
    table = np.empty(n, [(str(i), f"S{width}") for i, width in enumerate(widths)])
    for i, each in enumerate(columns):
        table[str(i)] = each
    return table
