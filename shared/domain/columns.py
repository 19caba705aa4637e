"""Columns: numpy arrays of equal length, one per property, and what all dataclasses of them can do."""

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int8]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Columns:
    """Base of a dataclass with slots, whose fields are columns of equal length."""

    __slots__: ClassVar[tuple[str, ...]] = ()
    row: ClassVar[np.dtype[np.void]]
    """The types of the columns, in order."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(getattr(self, self.__slots__[0]))

    def __getitem__(self, rows: slice | I64 | Bools) -> Self:
        """Return the rows that a slice, a mask or positions select."""
        return type(self)(*[column[rows] for column in self.columns()])

    def rows(self) -> Iterator[Any]:
        """Return the rows one by one, as tuples of Python's numbers."""
        return rows(*self.columns())

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Join several into one, in their order."""
        if not parts:
            return cls.from_rows([])
        return cls(*[np.concatenate(list(map(attrgetter(name), parts))) for name in cls.__slots__])

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[Any, ...]]) -> Self:
        """Build the columns from rows."""
        table = np.fromiter(rows, cls.row)
        return cls(*[table[name].copy() for name in cls.row.names or ()])

    def columns(self) -> list[NDArray[Any]]:
        """Return the columns, in order."""
        return [getattr(self, name) for name in self.__slots__]


def starts(*keys: I64) -> Bools:
    """Return which rows begin a group: those that differ from the row before in one of their keys."""
    found = np.ones(len(keys[0]), np.bool_)
    np.not_equal(keys[0][1:], keys[0][:-1], out=found[1:])
    for key in keys[1:]:
        found[1:] |= key[1:] != key[:-1]
    return found


def rows(*columns: NDArray[Any]) -> Iterator[tuple[Any, ...]]:
    """Return the rows of columns one by one, as tuples of Python's numbers."""
    return zip(*(column.tolist() for column in columns), strict=True)
