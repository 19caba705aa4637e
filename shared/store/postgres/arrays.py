"""Numpy columns as PostgreSQL's binary arrays, in both directions: a statement takes and returns whole columns."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader, PyFormat
from psycopg.pq import Format
from psycopg.types.numeric import Int8BinaryDumper

from shared.domain.columns import Columns

Rows = TypeVar("Rows", bound=Columns)

_HEADER = np.dtype([("dimensions", ">i4"), ("has_nulls", ">i4"), ("type", ">i4"), ("length", ">i4"), ("first", ">i4")])


class _Kind:
    """One type of columns: PostgreSQL's oids of an element and of an array, and how elements are written."""

    def __init__(self, element_oid: int, array_oid: int, element: str) -> None:
        self.element_oid, self.array_oid = element_oid, array_oid
        self.element = np.dtype([("length", ">i4"), ("value", element)])
        self.size = self.element["value"].itemsize


_KINDS: dict[type[np.generic], _Kind] = {
    np.bool_: _Kind(16, 1000, "?"),
    np.int8: _Kind(21, 1005, ">i2"),  # PostgreSQL has no shorter integer
    np.int64: _Kind(20, 1016, ">i8"),
    np.float64: _Kind(701, 1022, ">f8"),
}


def _kind(dtype: Any) -> _Kind:
    return _KINDS[dtype.type]


class _ArrayDumper(Dumper):
    """Writes a column as an array."""

    format = Format.BINARY

    def get_key(self, obj: NDArray[Any], format: PyFormat) -> tuple[type, type]:  # noqa: A002, ARG002  # psycopg's names
        return self.cls, obj.dtype.type

    def upgrade(self, obj: NDArray[Any], format: PyFormat) -> "_ArrayDumper":  # noqa: A002, ARG002  # psycopg's names
        made = type(self)(self.cls)
        made.oid = _kind(obj.dtype).array_oid
        return made

    def dump(self, obj: NDArray[Any]) -> Buffer:
        kind = _kind(obj.dtype)
        body = np.empty(len(obj), kind.element)
        body["length"], body["value"] = kind.size, obj
        header = np.array((1, 0, kind.element_oid, len(obj), 1), _HEADER)
        return header.tobytes() + body.tobytes()


class _ArrayLoader(Loader):
    """Reads an array without nulls as a column."""

    format = Format.BINARY
    type: type[np.generic]

    def load(self, data: Buffer) -> NDArray[Any]:
        if len(data) < _HEADER.itemsize:  # it is empty, and has no length
            return np.empty(0, self.type)
        elements = np.frombuffer(data, _KINDS[self.type].element, offset=_HEADER.itemsize)
        return elements["value"].astype(self.type)


def register(connection: "Connection[Any]") -> None:
    """Have a connection take columns as arrays and return arrays as columns, and write every integer as a bigint."""
    adapters = connection.adapters
    adapters.register_dumper(np.ndarray, _ArrayDumper)
    adapters.register_dumper(int, Int8BinaryDumper)
    for scalar, kind in _KINDS.items():
        loader = type(f"{scalar.__name__}Loader", (_ArrayLoader,), {"type": scalar})
        adapters.register_loader(kind.array_oid, loader)


def columns_of(columns: type[Rows], row: tuple[NDArray[Any] | None, ...]) -> Rows:
    """Build columns from a row of arrays, each None where there are no elements."""
    if row[0] is None:
        return columns.from_rows([])
    return columns(*row)
