"""`./power token`: what it prints, what it writes, and what it refuses."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from power_cli.__main__ import main
from shared.http.token_file import read
from shared.http.tokens import Access, access


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is not there yet, nor is its folder."""
    path = tmp_path / "keys" / "tokens.jsonl"
    monkeypatch.setenv("POWER_API_TOKENS_FILE", str(path))
    return path


def _status(*arguments: str) -> int:
    """Run the command; argparse leaves by itself."""
    try:
        return main(["token", *arguments])
    except SystemExit as end:
        return int(end.code or 0)


def test_a_token_is_printed_once_and_works(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output alone, so that a script can take it."""
    assert main(["token", "add", "--role", "ingest", "--ships", "43, 42,43", "--name", "bridge"]) == 0
    said = capsys.readouterr()
    secret = said.out.removesuffix("\n")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", secret)
    assert secret not in said.err
    assert "bridge: ingest for ship 42, 43" in said.err
    assert access(read(path), f"Bearer {secret}") == Access("ingest", frozenset({42, 43}), "bridge")
    assert secret not in path.read_text("utf-8")


def test_the_file_is_for_its_owner_alone_and_nothing_is_left_beside_it(path: Path) -> None:
    main(["token", "add", "--role", "admin"])
    main(["token", "add", "--role", "read"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    assert main(["token", "add", "--role", "read", "--file", str(link)]) == 0
    assert link.is_symlink()
    assert [each.name for each in read(path)] == ["read-1"]


def test_tokens_are_listed_by_name_and_never_by_secret(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--role", "ingest", "--ships", "7"], ["--role", "read"], ["--role", "read"]):
        main(["token", "add", *arguments])
    secrets = capsys.readouterr().out.split()
    assert main(["token", "list"]) == 0
    out = capsys.readouterr().out
    assert [line.partition(", created 20")[0] for line in out.splitlines()] == [
        "ingest-1: ingest for ship 7",
        "read-1: read",
        "read-2: read",
    ]
    assert not any(secret in out for secret in secrets)
    assert not any(each.sha256 in out for each in read(path))


def test_a_removed_token_is_gone_and_its_name_free(path: Path) -> None:
    main(["token", "add", "--role", "read", "--name", "console"])
    first = read(path)
    assert main(["token", "remove", "console"]) == 0
    assert read(path) == ()
    assert main(["token", "add", "--role", "read", "--name", "console"]) == 0
    assert read(path) != first


def test_two_who_add_at_once_both_do(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: main(["token", "add", "--role", "read"]), range(40)))
    assert statuses == [0] * 40
    assert len(read(path)) == 40


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "--role", "read", "--name", "console"], "there is a token console already"),
        (["add", "--role", "read", "--ships", "1"], "--ships goes with --role ingest"),
        (["add", "--role", "admin", "--ships", "1"], "--ships goes with --role ingest"),
        (["add", "--role", "ingest", "--ships", ""], "should be a whole number"),
        (["add", "--role", "ingest", "--ships", "1,-2"], "should be a whole number"),
        (["add", "--role", "captain"], "invalid choice"),
        (["add"], "--role"),
        (["add", "--role", "read", "--name", "two words"], "a name has"),
        (["remove", "nobody"], "there is no token nobody"),
        (["list", "--file", "{path}/below"], "cannot read the access tokens"),
        (["add", "--role", "read", "--file", "{path}/below"], "cannot write"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(
    path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["token", "add", "--role", "read", "--name", "console"])
    before = path.read_bytes()
    capsys.readouterr()
    assert _status(*[each.format(path=path) for each in arguments]) != 0
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert path.read_bytes() == before


def test_a_broken_file_is_not_written_over(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.parent.mkdir()
    path.write_text("not tokens\n", "utf-8")
    assert main(["token", "add", "--role", "read"]) == 1
    assert f"{path}:1: " in capsys.readouterr().err
    assert path.read_text("utf-8") == "not tokens\n"
