"""`./power dead-letters`: what could never be stored, and why."""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from normalizer_worker.dead_letters import FILE_NAME, DeadLetter, DeadLetters
from power_cli.up import ROOT
from shared.errors import InvalidSettings
from shared.moments import iso

SHOWN_BYTES = 60


def add_arguments(parser: ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--data", type=Path, default=ROOT / "data", metavar="DIR", help="the service's data folder")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with every fault")


def run(arguments: Namespace) -> int:
    """List the dead letters, the newest first."""
    if not (arguments.data / FILE_NAME).exists():
        raise InvalidSettings(f"there are no dead letters in {arguments.data}; name the service's folder with --data")
    letters = DeadLetters(arguments.data)
    count = 0
    try:
        for letter in letters.all():
            sys.stdout.write(f"{_json(letter) if arguments.json else _line(letter)}\n")
            count += 1
    finally:
        letters.close()
    if not arguments.json:
        sys.stdout.write(f"{count} dead letter{'' if count == 1 else 's'}\n")
    return 0


def _line(letter: DeadLetter) -> str:
    faults = "; ".join(f"{each.at} {each.problem}" for each in letter.problems[:3])
    payload = _printable(letter.payload[:SHOWN_BYTES].decode(errors="backslashreplace"))
    more = "…" if len(letter.payload) > SHOWN_BYTES else ""
    times = f" ({letter.times} times)" if letter.times > 1 else ""
    reason = f"{letter.reason}: {faults}" if faults else letter.reason
    return f"{iso(letter.last_us)}  {_printable(letter.topic)}  {reason}{times}\n    {payload}{more}"


def _printable(text: str) -> str:
    """Keep what a stranger sent from doing anything to a terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _json(letter: DeadLetter) -> str:
    return json.dumps(
        {
            "topic": letter.topic,
            "payload": letter.payload.decode(errors="backslashreplace"),
            "reason": letter.reason,
            "errors": [{"at": each.at, "problem": each.problem} for each in letter.problems],
            "first": iso(letter.first_us),
            "last": iso(letter.last_us),
            "times": letter.times,
        }
    )
