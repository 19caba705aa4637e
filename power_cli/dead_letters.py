"""`./power dead-letters`: lists messages that could not be stored, with the reason; sends, corrects or removes them."""

import argparse
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from normalizer_worker.ledger.dead_letter import DeadLetter
from normalizer_worker.ledger.dead_letters import FILE_NAME, DeadLetters
from normalizer_worker.routes import SHOWN_DIGITS
from power_cli import editing
from power_cli.argument_types import add_data
from power_cli.publishing import Publisher
from shared.domain.errors import InvalidInput, InvalidSettings
from shared.domain.timestamps import iso
from shared.runtime.mqtt_client import Login
from shared.runtime.settings import BrokerSettings, StoreSettings
from shared.store.choice import open_partitions

SHOWN_BYTES = 60
SHOWN_FAULTS = 3
ALL_DIGITS = 64
LEAST_DIGITS = 4
"""Of an ID, to remove a letter: a number such as 1 is no ID."""
FOLDER_HELP = "data folder of the service"


class Letters(Protocol):
    """Dead letters: `DeadLetters` of a folder, or `AllLetters` of a cluster."""

    def all(self) -> Iterator[DeadLetter]:
        """Yield all letters, the one received last first."""

    def between(self, first: bytes, last: bytes) -> Iterator[DeadLetter]:
        """Yield the letters with digests from `first` to `last`, by digest."""

    def remove(self, letter: DeadLetter) -> bool:
        """Delete a letter, unless its message was received again since it was read; return whether it is deleted."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    add_data(parser, FOLDER_HELP)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a line, with every error and the payload"
    )
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", description="Without an action, all dead letters are listed."
    )
    show = actions.add_parser("show", help="show one with every error and its whole payload")
    show.add_argument("id", metavar="ID", help="its ID in the list, or the beginning of it")
    replay = actions.add_parser(
        "replay",
        help="publish some again, and remove those that the broker accepts",
        description="Publish dead letters again on their topics, and remove those that the broker accepts; those that"
        " still cannot be stored become dead letters again.",
        epilog="POWER_MQTT_HOST and the other POWER_MQTT_ variables name the broker; its user `gateway` may publish for"
        " all ships.",
    )
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", nargs="*", default=[], metavar="ID", help="its ID in the list, or the beginning of it")
    which.add_argument("--all", action="store_true", help="all of them, in the order of their last arrival")
    edit = actions.add_parser(
        "edit",
        help="correct one, send it, and remove it when it is stored",
        description="Open $VISUAL, $EDITOR or vi on the payload of a dead letter, or take that of a file; send it, and"
        " remove the letter when the worker says that it is stored.",
        epilog="It counts as sent when it came first, unless it has a `sent_at`. The broker is that of replay.",
    )
    edit.add_argument("id", metavar="ID", help="its ID in the list, or the beginning of it")
    edit.add_argument("--payload", type=Path, metavar="FILE", help="the correct payload; no editor is opened")
    edit.add_argument("--topic", metavar="TOPIC", help="the correct topic; no editor is opened")
    remove = actions.add_parser("remove", help="remove some without sending them")
    remove.add_argument("ids", nargs="+", metavar="ID", help="its ID in the list, or the beginning of it")
    for each in (show, replay, edit, remove):
        add_data(each, FOLDER_HELP, default=argparse.SUPPRESS)


def run(arguments: Namespace) -> int:
    """List the dead letters, the newest first; or show, replay, correct or remove some."""
    with _opened(arguments.data) as letters:
        actions = {"show": _show, "replay": _replay, "edit": _edit, "remove": _remove}
        actions.get(arguments.action, _list)(letters, arguments)
    return 0


@contextmanager
def _opened(folder: Path) -> Iterator[Letters]:
    """Open the dead letters of a folder; without any there, those of a cluster, if POWER_STORE_URL names its store."""
    if (folder / FILE_NAME).exists():
        with closing(DeadLetters(folder)) as letters:
            while letters.has_old:
                letters.tidy()
            yield letters
        return
    settings = StoreSettings.load(os.environ)
    if settings.store != "postgresql":
        raise InvalidSettings(f"there are no dead letters in {folder}; set the service's data folder with --data")
    from normalizer_worker.ledger.partition_letters import AllLetters  # noqa: PLC0415  # only a cluster has psycopg

    with closing(open_partitions(settings)) as store:
        yield AllLetters(store)


def _list(letters: Letters, arguments: Namespace) -> None:
    count = 0
    for letter in letters.all():
        sys.stdout.write(f"{_json(letter) if arguments.json else _line(letter)}\n")
        count += 1
    if not arguments.json:
        sys.stdout.write(f"{_letters(count)}\n")


def _show(letters: Letters, arguments: Namespace) -> None:
    letter = _find(letters, arguments.id)
    shown = {
        "id": _id(letter),
        "topic": _printable(letter.topic),
        "first": iso(letter.first_us),
        "last": f"{iso(letter.last_us)}{_times(letter)}",
        "reason": letter.reason,
        **({"cut": _cut(letter)} if letter.is_cut else {}),
        **{f"fault {i}": f"{each.at} {each.problem}" for i, each in enumerate(letter.problems, 1)},
    }
    width = max(map(len, shown))
    for name, value in shown.items():
        sys.stdout.write(f"{name:{width}}  {value}\n")
    lines = letter.payload.decode(errors="backslashreplace").splitlines()
    sys.stdout.write("\n".join(["", *map(_printable, lines), ""]))


def _replay(letters: Letters, arguments: Namespace) -> None:
    """Publish dead letters; one that the worker refuses again before it is removed here is kept."""
    # Only their IDs: the payloads of all of them may not fit into memory.
    if arguments.all:
        every = [(_id(each, ALL_DIGITS), each.is_cut) for each in letters.all()][::-1]
        found = [name for name, is_cut in every if not is_cut]
        left_out = len(every) - len(found)
    else:
        found = [_id(_whole(_find(letters, name)), ALL_DIGITS) for name in arguments.ids]
        left_out = 0
    settings = BrokerSettings.load(os.environ)
    with closing(Publisher(*settings.broker.addresses[0], Login.of(settings))) as publisher:
        for name in found:
            letter = _find(letters, name)
            publisher.publish(letter.topic, letter.payload)
            letters.remove(letter)
    sys.stdout.write(f"{_letters(len(found))} replayed; those that still cannot be stored will be listed again\n")
    if left_out:
        sys.stdout.write(f"{_letters(left_out)} not replayed: only the beginning of the payload is kept\n")


def _edit(letters: Letters, arguments: Namespace) -> None:
    """Correct a dead letter and send it; it is removed when it is stored."""
    letter = _find(letters, arguments.id)
    topic = arguments.topic or letter.topic
    if arguments.payload or arguments.topic:
        editing.send(letter, topic, editing.read(arguments.payload) if arguments.payload else _whole(letter).payload)
    else:
        with editing.edited(letter) as payload:
            editing.send(letter, topic, payload)
    _say_removed(letters.remove(letter), letter)


def _remove(letters: Letters, arguments: Namespace) -> None:
    found = [_find(letters, name) for name in arguments.ids]
    if any(len(name) < LEAST_DIGITS for name in arguments.ids):
        raise InvalidInput(f"nothing is removed: give at least {LEAST_DIGITS} digits of an ID, the list shows them")
    for letter in found:
        _say_removed(letters.remove(letter), letter)


def _say_removed(is_removed: bool, letter: DeadLetter) -> None:  # noqa: FBT001  # what `remove` returns
    why = "is removed" if is_removed else "stays: its message has come again meanwhile"
    sys.stdout.write(f"dead letter {_id(letter)} {why}\n")


def _whole(letter: DeadLetter) -> DeadLetter:
    """Refuse a dead letter of which only the beginning is kept."""
    if letter.is_cut:
        raise InvalidInput(f"{_id(letter)} cannot be replayed: {_cut(letter)}")
    return letter


def _cut(letter: DeadLetter) -> str:
    return f"only the first {len(letter.payload)} of {letter.payload_bytes} bytes are kept"


def _find(letters: Letters, name: str) -> DeadLetter:
    """Return the dead letter whose ID begins with `name`."""
    try:
        first, last = (bytes.fromhex(name.ljust(ALL_DIGITS, digit)) for digit in "0f")
    except ValueError:
        raise InvalidInput(f"{name!r} is not an ID: the list shows them in its second column") from None
    found = letters.between(first, last)
    letter = next(found, None)
    if letter is None or not name:
        raise InvalidInput(f"there is no dead letter {name!r}")
    if next(found, None) is not None:
        raise InvalidInput(f"there are several dead letters whose IDs begin with {name}")
    return letter


def _id(letter: DeadLetter, digits: int = SHOWN_DIGITS) -> str:
    return letter.digest.hex()[:digits]


def _letters(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"


def _times(letter: DeadLetter) -> str:
    return f" ({letter.times} times)" if letter.times > 1 else ""


def _line(letter: DeadLetter) -> str:
    payload = _printable(letter.payload[:SHOWN_BYTES].decode(errors="backslashreplace"))
    more = "…" if len(letter.payload) > SHOWN_BYTES else ""
    head = f"{iso(letter.last_us)}  {_id(letter)}  {_printable(letter.topic)}"
    cut = f" ({_cut(letter)})" if letter.is_cut else ""
    return f"{head}  {letter.why(SHOWN_FAULTS)}{_times(letter)}{cut}\n    {payload}{more}"


def _printable(text: str) -> str:
    """Escape control characters, which could manipulate the terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _json(letter: DeadLetter) -> str:
    return json.dumps(
        {
            "id": _id(letter),
            "topic": letter.topic,
            "payload": letter.payload.decode(errors="backslashreplace"),
            "bytes": letter.payload_bytes,
            "cut": letter.is_cut,
            "reason": letter.reason,
            "errors": [{"at": each.at, "problem": each.problem} for each in letter.problems],
            "first": iso(letter.first_us),
            "last": iso(letter.last_us),
            "times": letter.times,
        }
    )
