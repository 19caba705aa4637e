"""Bodies of up to 8 MiB that cost as much as one can, valid and not."""

from collections.abc import Callable
from datetime import datetime, timedelta

from shared.contract.limits import MAX_BODY_BYTES

_GOOD = '{"datetime":"2019-01-05T04:37:00Z","value":1}'
_START = datetime(2019, 1, 1)  # noqa: DTZ001  # what is written of it has the zone


def _rows(write: Callable[[str, int], str], count: int = 100_000) -> str:
    """Write a batch of readings, each from its moment without a zone and its number."""
    data = ",".join(write((_START + timedelta(seconds=i)).isoformat(), i) for i in range(count))
    return f'{{"spaceship_id":1,"units":"kW","data":[{data}]}}'


def _beside(member: Callable[[int], str], count: int) -> str:
    """Write a batch of one reading and many other members."""
    return f'{{"spaceship_id":1,"units":"kW",{",".join(map(member, range(count)))},"data":[{_GOOD}]}}'


def _full(item: str, members: str = "", count: int = MAX_BODY_BYTES) -> str:
    """Write a batch of one reading and a member that is a list of as many items as fit."""
    head = f'{{"spaceship_id":1,"units":"kW"{members},"data":[{_GOOD}],"x":['
    fit = (MAX_BODY_BYTES - len(head) - 2) // (len(item.encode()) + 1)
    return head + ",".join([item] * min(fit, count)) + "]}"


def _ordinary(at: str, i: int) -> str:
    return f'{{"datetime":"{at}Z","value":{i / 7:.4f},"note":"{i:020}"}}'


def _unusual(at: str, i: int) -> str:
    return f'{{"datetime":"{at}.5+01:00","value":{i / 7}}}'


_FAULT = ',"batch_id":1'
_ESCAPES = r"\"\\\u0041"
_BODIES: dict[str, Callable[[], str]] = {
    "ordinary": lambda: _rows(_ordinary, 95_000),
    "five members": lambda: _rows(lambda at, i: f'{{"datetime":"{at}Z","value":1,"{i:x}":"{i}","b{i}":1,"c":[]}}'),
    "unusual moments": lambda: _rows(_unusual),
    "unusual, a fault at the end": lambda: _rows(_unusual, 99_999)[:-2] + ',{"datetime":"x","value":1}]}',
    "faults everywhere": lambda: _rows(lambda *_: '{"datetime":"","value":""}'),
    "objects and a fault": lambda: _full('{"a":{}}', _FAULT),
    "as many lists as may be": lambda: _full("[1]", _FAULT, 200_000),
    "keys": lambda: _beside(lambda i: f'"{i:x}":"{i:x}"', 480_000),
    "keys and a fault": lambda: _beside(lambda i: f'"{i:x}":"{i:x}"', 480_000)[:-1] + _FAULT + "}",
    "strings": lambda: _full('"\N{ROCKET}x"', _FAULT, 740_000),
    "deep": lambda: "[" * MAX_BODY_BYTES,
    "escapes": lambda: _full(f'"{_ESCAPES * 100}"'),
    "large strings": lambda: _full(f'"{"x" * 2**21}\N{ROCKET}"', ',"sent_at":"x"'),
    "cut short": lambda: _rows(_ordinary, 95_000)[:-1],
}
NAMES = list(_BODIES)


def heavy_body(name: str) -> bytes:
    """Write one."""
    return _BODIES[name]().encode()
