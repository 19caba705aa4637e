"""Bad batches, each with the places of its faults: one table for what is POSTed and for what is published."""

import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from shared.contract.limits import MAX_READINGS
from shared.domain.readings import MAX_SHIP

SHIP = 3_000_000
"""The ship of every bad batch; it never has a slot."""
MOMENT = '"2019-01-05T04:37:00Z"'
READING = f'{{"datetime": {MOMENT}, "value": 1}}'
UUID = "6f1c2a3e-5b7d-4c1e-9a70-0d4b5f6e7a81"
MEMBERS = {"spaceship_id": str(SHIP), "units": '"kW"', "data": f"[{READING}]"}


@dataclass(frozen=True)
class BadBatch:
    """A payload that must be refused.

    Attributes:
        name: the rule that it breaks.
        payload: as it is sent.
        at: the place of each of its faults; `body` where it is not even JSON.

    """

    name: str
    payload: bytes
    at: frozenset[str]


def text(**members: str | None) -> str:
    """Write a batch from the JSON texts of its members; those not named are good ones, None leaves one out."""
    written = [f'"{name}": {value}' for name, value in {**MEMBERS, **members}.items() if value is not None]
    return "{" + ", ".join(written) + "}"


def readings(*each: str) -> str:
    """Write a batch with these readings."""
    return text(data=f"[{', '.join(each)}]")


def reading(moment: str = MOMENT, value: str = "1") -> str:
    """Write one reading from the JSON texts of its members."""
    return f'{{"datetime": {moment}, "value": {value}}}'


def _invalid(name: str, payload: str, *at: str) -> BadBatch:
    return BadBatch(name, payload.encode(), frozenset(at))


def _unreadable(name: str, payload: str | bytes) -> BadBatch:
    return BadBatch(name, payload if isinstance(payload, bytes) else payload.encode(), frozenset({"body"}))


def _wrong_ships() -> Iterator[BadBatch]:
    values = ["-1", str(MAX_SHIP + 1), "1e3", "42.0", "42.5", '"42"', '"ship"', "true", "null", "[]", "{}", "9" * 400]
    for value in values:
        yield _invalid(f"spaceship_id {value[:20]}", text(spaceship_id=value), "spaceship_id")


def _wrong_units() -> Iterator[BadBatch]:
    yield _invalid("units missing", text(units=None), "units")
    for value in [
        '"KW"',
        '"kw"',
        '"KWH"',
        '"kwh"',
        '"kW "',
        '"w"',
        '"Mwh"',
        '"GWh"',
        '""',
        "null",
        "1",
        "true",
        '["kW"]',
        "{}",
    ]:
        yield _invalid(f"units {value}", text(units=value), "units")


def _wrong_moments() -> Iterator[BadBatch]:
    texts = [
        "",
        "yesterday",
        "2019-01-05",
        "04:37:00Z",
        "1546663020",
        "2019-13-05T04:37:00Z",
        "2019-02-29T04:37:00Z",
        "2019-01-05T25:37:00Z",
        "2019-01-05T04:37:00ZZZ",
        "2019-01-05T04:37:00+24:00",
        "2019-01-05T04:37:00xZ",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00+00:01",
        "2200-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
    ]
    yield _invalid("datetime null", readings(READING, reading("null")), "data[1].datetime")
    for value in [*(f'"{each}"' for each in texts), "-1", "1.5", "1e999", "NaN", "true", "[]", "{}"]:
        yield _invalid(f"datetime {value}", readings(reading(value)), "data[0].datetime")
        yield _invalid(f"sent_at {value}", text(sent_at=value), "sent_at")


def _wrong_values() -> Iterator[BadBatch]:
    numbers = ["-1", "-0.001", "-1e-320", "1000000000001", "1000000000000.001", "1.1e12", "1e300", "9" * 400]
    not_finite = ["1e999", "-1e999", "NaN", "Infinity", "-Infinity"]
    no_numbers = ['"12,5"', '"NaN"', '"1_0"', '" 1"', '"01"', '"unavailable"', '""', "true", "false", "[]", "[1]", "{}"]
    for value in numbers + not_finite + no_numbers:
        yield _invalid(f"value {value[:20]}", readings(reading(value=value)), "data[0].value")


def _wrong_data() -> Iterator[BadBatch]:
    yield _invalid("data missing", text(data=None), "data")
    yield _invalid("data empty", text(data="[]"), "data")
    for value in ["null", "1", '"x"', "{}", READING, "true"]:
        yield _invalid(f"data {value[:20]}", text(data=value), "data")
    for value in ["null", "1", '"x"', "[]", f"[{READING}]"]:
        yield _invalid(f"a reading {value[:20]}", readings(READING, value), "data[1]")
    yield _invalid("a reading without members", readings("{}"), "data[0].datetime", "data[0].value")
    yield _invalid("a reading without value", readings(f'{{"datetime": {MOMENT}}}'), "data[0].value")
    yield _invalid("a reading without datetime", readings('{"value": 1}'), "data[0].datetime")
    misspelt = f'{{"Datetime": {MOMENT}, "VALUE": 1}}'
    places = (f"data[1].{each}" for each in ("Datetime", "VALUE", "datetime", "value"))
    yield _invalid("a reading misspelt", readings(READING, misspelt), *places)
    short = '{"datetime":"2019-01-05T04:37","value":1}'
    yield _invalid("one reading too many", text(data=f"[{','.join([short] * (MAX_READINGS + 1))}]"), "data")


def _wrong_ids() -> Iterator[BadBatch]:
    for value in ['""', '"x"', f'"{UUID[:-1]}"', f'"{UUID}0"', f'"{UUID[:-1]}g"', "1", "true", "[]", "{}"]:
        yield _invalid(f"batch_id {value}", text(batch_id=value), "batch_id")


def _several_faults() -> Iterator[BadBatch]:
    yield _invalid(
        "a fault in every member",
        text(
            spaceship_id="-1",
            units='"J"',
            data=f"[{reading(value='-1')}, {READING}, {reading('0', 'true')}, 5]",
            batch_id='"x"',
            sent_at='"now"',
        ),
        *("spaceship_id", "units", "batch_id", "sent_at"),
        *("data[0].value", "data[2].datetime", "data[2].value", "data[3]"),
    )
    yield _invalid(
        "a fault in the last of many readings",
        text(data=f"[{', '.join([READING] * 9_999)}, {reading(value='-1')}]"),
        "data[9999].value",
    )
    yield _invalid(
        "a hundred faults",
        text(data=f"[{', '.join([reading(value='-1')] * 100)}]"),
        *(f"data[{row}].value" for row in range(100)),
    )
    yield _invalid(
        "more faults than an answer names",
        text(data=f"[{', '.join([reading(value='-1')] * 5_000)}]"),
        *(f"data[{row}].value" for row in range(100)),
    )
    for payload in ["null", "true", "1", '"kW"', "[]"]:
        yield _invalid(f"not an object: {payload[:10]}", payload, "body")


def _duplicate_keys() -> Iterator[BadBatch]:
    """The last one counts: these are bad because of their last."""
    yield _invalid("the second value bad", readings(reading(value='1, "value": -1')), "data[0].value")
    yield _invalid("the second units bad", text()[:-1] + ', "units": "w"}', "units")
    yield _invalid("the second data bad", text()[:-1] + ', "data": []}', "data")
    yield _invalid("the second sent_at bad", text(sent_at=MOMENT)[:-1] + ', "sent_at": "now"}', "sent_at")


def _too_many_parts() -> Iterator[BadBatch]:
    """Within 8 MiB, and yet more work than one batch may make: not even parsed, or not stored."""
    million = 1_000_000
    yield _invalid("4,000,000 open arrays", "[" * 4 * million, "body")
    yield _invalid("a million objects", text(note=f"[{','.join(['{}'] * million)}]"), "body")
    yield _invalid("a million numbers", text(note=f"[{','.join('1' * million)}]"), "body")
    yield _invalid("a million strings", text(note=r'["\\", "\"", ' + ",".join(['""'] * million) + "]"), "body")
    days = (date(2010, 1, 1) + timedelta(days=day) for day in range(2_200))
    daily = [reading(f'"{day}T00:00:00Z"') for day in days]
    yield _invalid("six years of daily readings", text(data=f"[{', '.join(daily)}]"), "data")


def _wrong_clocks() -> Iterator[BadBatch]:
    for value in ("1999-12-31T23:59:59.999999Z", "2000-01-01T00:00:00+00:01", "2199-12-31T23:59:59Z"):
        yield _invalid(f"datetime {value}", readings(READING, reading(f'"{value}"')), "data[1].datetime")
        yield _invalid(f"sent_at {value}", text(sent_at=f'"{value}"'), "sent_at")
    yield _invalid(
        "several moments of a wrong clock",
        readings(reading('"2199-01-01T00:00:00Z"'), READING, reading('"1999-01-01T00:00:00Z"', "-1"), reading('"x"')),
        *("data[0].datetime", "data[2].datetime", "data[2].value", "data[3].datetime"),
    )


INVALID = [
    *_wrong_ships(),
    *_wrong_units(),
    *_wrong_moments(),
    *_wrong_values(),
    *_wrong_data(),
    *_wrong_ids(),
    *_several_faults(),
    *_duplicate_keys(),
    *_too_many_parts(),
    *_wrong_clocks(),
]
"""JSON, but no valid batch: every fault has its place."""


def _not_json() -> Iterator[BadBatch]:
    noise = random.Random(2)
    for size in (1, 100, 100_000):
        yield _unreadable(f"{size} random bytes", b"\x80" + noise.randbytes(size))
    yield _unreadable("printable noise", "".join(noise.choices(string.printable, k=1000)))
    yield _unreadable("empty", b"")
    yield _unreadable("blank", b" \r\n\t ")
    yield _unreadable("one byte", b"{")
    yield _unreadable("CSV", "datetime,value\n2019-01-05T04:37:00Z,1\n")
    yield _unreadable("XML", "<batch/>")
    yield _unreadable("a form", "spaceship_id=42&units=kW")
    yield _unreadable("single quotes", text().replace('"', "'"))
    yield _unreadable("a trailing comma", text()[:-1] + ",}")
    yield _unreadable("a comment", text() + " // good")
    yield _unreadable("cut short", text()[:-1])
    yield _unreadable("one byte too many", text() + "}")
    yield _unreadable("two documents", text() + "\n" + text())
    yield _unreadable("no colon", text().replace(":", " ", 1))
    for value in ["01", "1.", ".5", "+1", "0x10", "1e", "--1", "1_000", "1,5", "nan", "inf", "None", "undefined"]:
        yield _unreadable(f"the number {value}", readings(reading(value=value)))


def _not_utf_8() -> Iterator[BadBatch]:
    yield _unreadable("two byte order marks", b"\xef\xbb\xbf" * 2 + text().encode())
    yield _unreadable("Latin-1", text(note='"\N{LATIN SMALL LETTER U WITH DIAERESIS}"').encode("latin-1"))
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        yield _unreadable(encoding, (text() + "\n").encode(encoding))
    for name, rubbish in [
        ("a lone continuation byte", b"\x80"),
        ("a byte that UTF-8 never has", b"\xff"),
        ("an overlong NUL", b"\xc0\x80"),
        ("an encoded surrogate", b"\xed\xa0\x80"),
        ("a code point beyond Unicode", b"\xf4\x90\x80\x80"),
        ("a character cut short", b"\xe2\x82"),
        ("a raw control character", b"\x00"),
        ("an escaped lone surrogate", b"\\ud800"),
        ("an unknown escape", b"\\x41"),
    ]:
        yield _unreadable(f"{name} in a string", text().encode()[:-1] + b', "note": "' + rubbish + b'"}')


def _deep() -> Iterator[BadBatch]:
    for depth in (1_000, 100_000):
        yield _unreadable(f"{depth} open arrays", b"[" * depth)
    yield _unreadable("100,000 open objects", b'{"a":' * 100_000)
    yield _unreadable("deep data", text(data="[" * 100_000 + "]" * 100_000))
    yield _unreadable("a deep unknown member", text(note="[" * 100_000 + "]" * 100_000))
    yield _unreadable("a deep value", readings(reading(value='{"a":' * 100_000 + "1" + "}" * 100_000)))


UNREADABLE = [*_not_json(), *_not_utf_8(), *_deep()]
"""Not even JSON: refused as a whole."""
