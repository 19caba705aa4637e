"""`./power token`: adds, lists and removes access tokens; a running service reads the changed file by itself."""

import fcntl
import os
import re
import secrets
import sys
import tempfile
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IMODE
from typing import get_args

from power_cli.argument_types import ship_number
from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings
from shared.http.token_file import read
from shared.http.tokens import NAME, Role, Token, digest, dump

FILE_NAME = "tokens.jsonl"
SETTING = "POWER_API_TOKENS_FILE"
SECRET_BYTES = 32


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="create a token and print it, only this once")
    add.add_argument("--role", choices=get_args(Role), required=True, help="what it allows; admin allows everything")
    add.add_argument("--ships", type=_ships, metavar="N,N", help="limit it to the readings of these ships")
    add.add_argument("--name", type=_name, help="name of the token (default: its role and a number)")
    remove = actions.add_parser("remove", help="remove a token")
    remove.add_argument("name", metavar="NAME", help="its name, as `list` shows it")
    for each in (add, actions.add_parser("list", help="list names, roles and ships"), remove):
        each.add_argument(
            "--file",
            type=Path,
            default=Path(os.environ.get(SETTING) or ROOT / "data" / FILE_NAME),
            help=f"file of the tokens (default ${SETTING}, or data/{FILE_NAME})",
        )


def run(arguments: Namespace) -> int:
    """Add, list or remove tokens."""
    {"add": _add, "list": _list, "remove": _remove}[arguments.action](arguments)
    return 0


def token_of(secret: str, name: str, role: Role, ships: tuple[int, ...] | None = None) -> Token:
    """Return the token for a secret."""
    created = datetime.now(UTC).replace(microsecond=0)
    return Token(name=name, role=role, ships=ships, created=created, sha256=digest(secret))


def _add(arguments: Namespace) -> None:
    if arguments.ships and arguments.role != "ingest":
        raise InvalidSettings("--ships goes with --role ingest")
    secret = secrets.token_urlsafe(SECRET_BYTES)
    with _locked(arguments.file) as path:
        tokens = read(path) if path.exists() else ()
        taken = {each.name for each in tokens}
        token = token_of(secret, arguments.name or _free_name(arguments.role, taken), arguments.role, arguments.ships)
        if token.name in taken:
            raise InvalidSettings(f"there is a token {token.name} already; remove it first, or choose another --name")
        _write(path, (*tokens, token))
    sys.stderr.write(
        f"{_shown(token)}\nin {arguments.file}, which keeps only its hash: the token is shown only this once.\n"
        f"The service accepts it within a second, if {SETTING} names this file.\n"
    )
    sys.stdout.write(f"{secret}\n")


def _list(arguments: Namespace) -> None:
    for token in read(arguments.file):
        sys.stdout.write(f"{_shown(token)}\n")


def _remove(arguments: Namespace) -> None:
    with _locked(arguments.file) as path:
        tokens = read(path)
        kept = [each for each in tokens if each.name != arguments.name]
        if len(kept) == len(tokens):
            raise InvalidSettings(f"there is no token {arguments.name} in {arguments.file}")
        _write(path, kept)
    sys.stderr.write(f"{arguments.name} is removed; the service refuses it within a second\n")


def _shown(token: Token) -> str:
    ships = f" for ship {', '.join(map(str, token.ships))}" if token.ships else ""
    return f"{token.name}: {token.role}{ships}, created {token.created.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


@contextmanager
def _locked(file: Path) -> Iterator[Path]:
    """Lock the folder of a file against other commands; yield the file's path without symbolic links."""
    try:
        path = file.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield path
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise InvalidSettings(f"cannot write {file}: {error.strerror}") from None


def _write(path: Path, tokens: Sequence[Token]) -> None:
    """Replace the file atomically; it keeps its mode, and a new file has mode 0600."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        if path.exists():
            os.fchmod(number, S_IMODE(path.stat().st_mode))
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(dump(tokens))
            file.flush()
            os.fsync(number)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def _free_name(role: Role, taken: set[str]) -> str:
    return next(name for number in range(1, len(taken) + 2) if (name := f"{role}-{number}") not in taken)


def _ships(text: str) -> tuple[int, ...]:
    return tuple(sorted({ship_number(each.strip()) for each in text.split(",")}))


def _name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        raise ArgumentTypeError(f"a name has up to 64 letters, digits, '.', '_' and '-', unlike {text!r}")
    return text
