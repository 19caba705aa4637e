"""What can be asked of an InfluxDB; and a way to ask it only while a transaction may go on."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from shared.domain.errors import Refused
from shared.store.influx.server import AT_ONCE, LINES, Table


class Requests(Protocol):
    """What can be asked of an InfluxDB, by `Server` or by way of what stands before it."""

    def query(self, statements: Sequence[str], values: Mapping[str, object]) -> Iterator[Table]:
        """See `Server`."""
        ...

    def write(self, lines: Iterable[str]) -> None:
        """See `Server`."""
        ...


class Held:
    """Asks a server, and before each request whether it may; long writes are cut, so that this is asked in between."""

    def __init__(self, server: Requests, hold: Callable[[], None]) -> None:
        """Prepare; `hold` raises where nothing may be sent any more."""
        self._server = server
        self._hold = hold

    def query(self, statements: Sequence[str], values: Mapping[str, object]) -> Iterator[Table]:
        """See `Server`."""
        self._hold()
        return self._server.query(statements, values)

    def write(self, lines: Iterable[str]) -> None:
        """See `Server`; where a part is refused, the others are written nevertheless."""
        lines, refusals = iter(lines), list[Refused]()
        while part := list(islice(lines, LINES * AT_ONCE)):
            self._hold()
            try:
                self._server.write(part)
            except Refused as error:
                refusals.append(error)
        if refusals:
            raise refusals[0]
