"""Packs: the readings of a ship as compressed columns, exact to the last bit. Pure.

Of each column the differences from row to row are kept as unsigned numbers, which are small where a column grows
evenly; first the lowest byte of all of them, then the next one, and so on. Values with few decimals are kept as whole
numbers: as floating-point numbers they take four bytes more, because hardly a bit of them repeats.
"""

import zlib

import numpy as np

from shared.domain.columns import F64, I64
from shared.domain.readings import Readings, Stated

_FORMAT = 1
_DECIMALS = range(7)
_NOT_DECIMAL = 255
_EXACT = 2.0**53


def packed(readings: Readings) -> bytes:
    """Return the readings of one ship, at least one, as bytes: three that say how, and the columns without the ship."""
    decimals, value = _whole(readings.value)
    columns = [readings.moment_us, value, readings.kind.astype(np.int64), readings.sent_at_us]
    if (stated := readings.stated) is not None:
        columns += [stated.duration_us, stated.max_gap_us, stated.rollover.view(np.int64)]
    steps = np.diff(np.array(columns, "<i8"), axis=1, prepend=0)
    unsigned = (steps << 1) ^ (steps >> 63)
    planes = unsigned.view(np.uint8).reshape(len(columns), -1, 8).transpose(0, 2, 1)
    return bytes([_FORMAT, len(columns), decimals]) + zlib.compress(planes.tobytes())


def unpacked(ship: int, pack: bytes) -> Readings:
    """Return the readings in a pack of a ship.

    Raises:
        ValueError: this program does not know its format.
        zlib.error: it is damaged.

    """
    form, count, decimals = pack[:3]
    if form != _FORMAT:
        message = f"a pack of ship {ship} has format {form}, this program needs {_FORMAT}"
        raise ValueError(message)
    planes = np.frombuffer(zlib.decompress(pack[3:]), np.uint8).reshape(count, 8, -1)
    unsigned = np.ascontiguousarray(planes.transpose(0, 2, 1)).view("<u8")[..., 0]
    steps = (unsigned >> 1).view(np.int64) ^ -(unsigned & 1).view(np.int64)
    moment_us, value, kind, sent_at_us, *stated = steps.cumsum(axis=1)
    return Readings(
        np.full(len(moment_us), ship),
        moment_us,
        value.view(np.float64) if decimals == _NOT_DECIMAL else value / 10**decimals,
        kind.astype(np.int8),
        sent_at_us,
        Stated(stated[0], stated[1], stated[2].view(np.float64)) if stated else None,
    )


def _whole(value: F64) -> tuple[int, I64]:
    """Return values as whole numbers, and how many decimals these have; their bits where they are no short decimals."""
    for decimals in _DECIMALS:
        with np.errstate(over="ignore"):
            scaled = np.rint(value * 10**decimals)
        if (np.abs(scaled) < _EXACT).all():
            whole = scaled.astype(np.int64)
            if np.array_equal((whole / 10**decimals).view(np.int64), value.view(np.int64)):
                return decimals, whole
    return _NOT_DECIMAL, value.view(np.int64)
