"""Batches by the thousand, from a seed: good ones, odd ones, broken ones, and noise."""

import json
import random
from typing import Any

from shared.domain.clock import now_us
from shared.domain.timestamps import iso

SECOND_US = 1_000_000
_UUID = "6f1c2a3e-5b7d-4c1e-9a70-0d4b5f6e7a81"
_NUMBERS = [
    *(0, 1, -1, 1.5, -0.0, 1e12, 1e12 + 1, 1e13, -1e12, 5e-324, 10**25, 10**400, -(10**400)),
    *(2**53, 2**53 - 1, float("nan"), float("inf"), -float("inf")),
]
_MOMENTS = [
    *("2019-01-05T04:37:00", "2019-01-05", "20190105T0437", "2019-W01-6T04:37Z", "2019-01-05T04:37:00.1234567+23:59"),
    *("2019-01-05T04:37:00ZZ", "2019-02-29T00:00:00Z", "1969-12-31T23:59:59Z", "1999-12-31T23:59:59.999999Z"),
    *("2000-01-01T00:00:00Z", "2199-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "2019-01-05T24:00:00Z"),
    *("2019-01-05t04:37:00z", "\N{FULLWIDTH DIGIT TWO}019-01-05T04:37:00Z", "2019-01-05T04:37:00,5Z"),
    f"2019-01-05T04:37:00.{'1' * 300}Z",
]
_TEXTS = [
    "",
    "kW",
    "kWh",
    "kw",
    _UUID,
    _UUID.upper().replace("-", ""),
    f"urn:uuid:{_UUID}",
    "\0",
    "\N{ROCKET}",
    "x" * 99,
]
_PIECES = [*(each.encode() for each in '"{}[],:\\ '), b"\\ud800", b"NaN", b'"units":"kW",', b"1e999", b"\xff"]


class OddBatches:
    """Draws payloads."""

    def __init__(self, seed: int) -> None:
        """Begin; the same seed gives the same payloads, but for those that are about now."""
        self._random = random.Random(seed)

    def payload(self) -> bytes:
        """Draw the next one."""
        members = self._batch() if self._chance(0.93) else self._odd()
        text = json.dumps(members, ensure_ascii=self._chance(0.5)).encode("utf-8", "surrogatepass")
        if self._chance(0.15):
            text = self._broken(text)
        return text + b" " * 70_000 if self._chance(0.02) else text  # large ones are read in another way

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _batch(self) -> dict[str, Any]:
        rng = self._random
        faulty = rng.choice([0, 0, 0.02, 0.3])
        count = rng.choice([0, 1, 2, 3, 17, 30, 300] if self._chance(0.2) else [1, 2, 3])
        members = {
            "spaceship_id": rng.choice([1, 7, 2**53 - 1]),
            "units": rng.choice(["kW", "kWh"]),
            "data": [self._reading(faulty) for _ in range(count)],
            "batch_id": rng.choice([None, _UUID, _UUID.upper()]),
            "sent_at": rng.choice([None, self._moment()]),
            "note": self._odd(),
        }
        for name in list(members):
            if self._chance(0.3 * faulty):
                members[name] = self._odd()
            if self._chance(0.3 * faulty) or (name in {"batch_id", "sent_at", "note"} and self._chance(0.6)):
                del members[name]
        names = list(members)
        rng.shuffle(names)
        return {name: members[name] for name in names}

    def _reading(self, faulty: float) -> Any:
        reading = {"datetime": self._moment(), "value": self._value(), "x": None}
        if self._chance(faulty):
            reading[self._random.choice(list(reading))] = self._odd()
        if self._chance(faulty / 4):
            del reading[self._random.choice(list(reading))]
        return self._odd() if self._chance(faulty / 4) else reading

    def _moment(self) -> str:
        rng = self._random
        if self._chance(0.02):
            ahead_s = rng.choice(
                [-900, 0, 800, 1_000, 7_200, 90_000]
            )  # not so near 900 that it matters when it is read
            return iso(now_us() + ahead_s * SECOND_US)
        day = f"{rng.randint(2000, 2025)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        usual = f"{day}T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}Z"
        if self._chance(0.7):
            return usual
        fraction = f"{usual[:-1]}.{rng.randrange(10 ** rng.randint(1, 9))}"
        return rng.choice(
            [usual[:-1], usual[:16], f"{usual}Z", f"{fraction}+{rng.randint(0, 23):02}:30", *_MOMENTS[:1]]
        )

    def _value(self) -> float:
        rng = self._random
        size: float = 10.0 ** rng.randint(-300, 11)
        return rng.choice([rng.randint(0, 1000), rng.random() * size, 0, -0.0, 1e12])

    def _odd(self, depth: int = 0) -> Any:
        rng = self._random
        if depth > 2 or self._chance(0.7):
            return rng.choice([None, True, False, rng.choice(_NUMBERS), rng.choice(_TEXTS), rng.choice(_MOMENTS)])
        inner = [self._odd(depth + 1) for _ in range(rng.randint(0, 4))]
        if self._chance(0.5):
            return inner
        return {rng.choice(["datetime", "value", "spaceship_id", "units", "batch_id", "a"]): each for each in inner}

    def _broken(self, text: bytes) -> bytes:
        rng, broken = self._random, bytearray(text)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(broken) + 1)
            match rng.randrange(3):
                case 0:
                    broken[at : at + 1] = rng.randbytes(1)
                case 1:
                    del broken[at : at + rng.randint(1, 5)]
                case _:
                    broken[at:at] = rng.choice(_PIECES)
        return bytes(broken)
