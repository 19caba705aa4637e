"""`./power dead-letters edit`: puts a dead letter right and sends it again."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import NamedTuple
from uuid import uuid4

from normalizer_worker.ledger.dead_letter import DeadLetter
from power_cli import receipted
from shared.contract.acceptance import Rules
from shared.contract.json_text import stripped
from shared.contract.limits import MAX_VALUE
from shared.contract.messages import decode
from shared.contract.status import BatchKey
from shared.contract.topics import ship_of
from shared.domain.clock import now_us
from shared.domain.errors import InvalidInput, PowerError, Problem
from shared.domain.timestamps import LAST_US, iso
from shared.runtime.settings import BrokerSettings

ANY = Rules(allow_negative=True, max_ahead_us=LAST_US, oldest_us=0, max_kw=MAX_VALUE)
"""The worker's own rules depend on its settings: its receipt tells whether they allow the batch."""


class Message(NamedTuple):
    """A message that is to be published."""

    key: BatchKey
    payload: bytes


@contextmanager
def edited(letter: DeadLetter) -> Iterator[bytes]:
    """Open an editor on the payload of a letter, and yield the text; after an error its file is kept."""
    if ship_of(letter.topic) is None:
        raise InvalidInput(f"{letter.topic} names no ship: give --topic ships/N/readings")
    if letter.is_cut:
        raise InvalidInput("only the beginning of its payload is kept: give all of it with --payload FILE")
    number, name = mkstemp(prefix="dead-letter-", suffix=".json")
    with os.fdopen(number, "wb") as file:
        file.write(letter.payload)
    try:
        _open_editor(name)
        yield Path(name).read_bytes()
    except PowerError as error:
        raise type(error)(f"{error}; the text is in {name}") from None
    Path(name).unlink(missing_ok=True)


def _open_editor(name: str) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        ended = subprocess.run([*shlex.split(editor), name], check=False).returncode
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot start the editor {editor!r}: {error}; set EDITOR, or use --payload FILE") from None
    if ended:
        raise InvalidInput(f"nothing is sent: the editor ended with status {ended}")


def read(file: Path) -> bytes:
    """Return the payload in a file."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read {file}: {error.strerror}") from None


def message(letter: DeadLetter, topic: str, payload: bytes) -> Message:
    """Return the message for an edited letter, with a `batch_id` and a `sent_at`.

    Without a `sent_at` it counts as sent when the letter came first: it must not override what was sent since.

    Raises:
        InvalidInput: it is not valid, or the same as before.

    """
    if (topic, payload) == (letter.topic, letter.payload):
        raise InvalidInput("nothing was changed; ./power dead-letters replay sends it as it is")
    ship = ship_of(topic)
    if ship is None:
        raise InvalidInput(f"{topic} names no ship: give --topic ships/N/readings")
    batch = decode(payload, ANY, now_us(), topic_ship=ship)
    batch_id = batch.batch_id or uuid4()
    added = "" if batch.batch_id else f',"batch_id":"{batch_id}"'
    added += "" if batch.sent_at_us else f',"sent_at":"{iso(letter.first_us)}"'
    text = stripped(payload).rstrip().removesuffix(b"}")
    return Message(BatchKey(ship, str(batch_id)), text + added.encode() + b"}")


def send(letter: DeadLetter, topic: str, payload: bytes) -> None:
    """Send a payload in the place of a letter's; return when it is stored.

    Raises:
        InvalidInput: it is not valid, or the worker rejects it.
        Unavailable: there is no receipt.

    """
    try:
        found = message(letter, topic, payload)
    except InvalidInput as error:
        raise InvalidInput(f"nothing is sent: {_told(error.summary, error.problems)}") from None
    receipt = receipted.publish(BrokerSettings.load(os.environ), found.key, found.payload)
    if receipt.status != "stored":
        raise InvalidInput(f"the worker rejects it: {_told('the batch is not valid', receipt.problems)}")
    sys.stdout.write(f"stored as batch {receipt.batch_id} of ship {receipt.spaceship_id}\n")


def _told(summary: str, problems: tuple[Problem, ...]) -> str:
    return "; ".join([summary, *(f"{each.at} {each.problem}" for each in problems if each.problem != summary)])
