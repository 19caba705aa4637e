"""Keeps unit tests to their layer: no sockets, processes or databases, and no files written."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

EVENTS = {"os.fork", "os.posix_spawn", "socket.bind", "socket.connect", "sqlite3.connect", "subprocess.Popen"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
OF_TOOLS = (".hypothesis", "__pycache__")
_test: list[str] = []
"""The unit test that runs now, if one does: an audit hook, once added, stays for the whole process."""


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if _test and (event in EVENTS or (event == "open" and _is_written(*arguments))):
        raise AssertionError(f"{_test[0]} is no unit test: {event} {arguments[:1]}")


def _is_written(path: object, _mode: object, flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & WRITES) and not any(each in str(path) for each in OF_TOOLS)


sys.addaudithook(_refuse)


@pytest.fixture(autouse=True)
def _layer(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse all I/O while a unit test runs."""
    _test[:] = [request.node.name]
    yield
    _test.clear()
