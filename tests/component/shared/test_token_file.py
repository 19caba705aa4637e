"""The file of tokens while the service runs: changed, replaced, broken, gone."""

import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.domain.errors import InvalidSettings, Unauthenticated
from shared.http.token_file import CHECK_S, TokenFile, access_by
from shared.http.tokens import EVERYTHING, dump
from tests.support.tokens import bearer, token

ROOT, READER = token("root", "admin"), token("console", "read")


@dataclass
class Clock:
    """A clock that moves when it is told to."""

    now_s: float = 0.0

    def __call__(self) -> float:
        """Give the time."""
        return self.now_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one token."""
    path = tmp_path / "tokens.jsonl"
    path.write_text(dump([ROOT]), "utf-8")
    return path


def _knows(tokens: TokenFile, name: str) -> bool:
    try:
        tokens.access(bearer(name)["Authorization"])
    except Unauthenticated:
        return False
    return True


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text, "utf-8")
    new.replace(path)


def test_a_changed_file_counts_a_second_later(path: Path) -> None:
    """And not before: the file is not looked at for every request."""
    clock = Clock()
    tokens = TokenFile(path, clock)
    _replace(path, dump([READER]))
    clock.now_s += CHECK_S * 0.99
    assert (_knows(tokens, "root"), _knows(tokens, "console")) == (True, False)
    clock.now_s += CHECK_S * 0.01
    assert (_knows(tokens, "root"), _knows(tokens, "console")) == (False, True)


def test_a_file_written_in_place_counts_too(path: Path) -> None:
    clock = Clock()
    tokens = TokenFile(path, clock)
    path.write_text(dump([ROOT, READER]), "utf-8")
    clock.now_s += CHECK_S
    assert _knows(tokens, "console")


def test_an_emptied_file_lets_nobody_in(path: Path) -> None:
    clock = Clock()
    tokens = TokenFile(path, clock)
    _replace(path, "")
    clock.now_s += CHECK_S
    assert not _knows(tokens, "root")


@pytest.mark.parametrize("broken", ["{", "\udcff", None], ids=["wrong", "not UTF-8", "gone"])
def test_a_broken_file_keeps_the_last_good_one_and_is_logged_once(
    path: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    clock = Clock()
    tokens = TokenFile(path, clock)
    if broken is None:
        path.unlink()
    else:
        path.write_bytes(broken.encode(errors="surrogateescape"))
    for _ in range(3):
        clock.now_s += CHECK_S
        assert _knows(tokens, "root")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert str(path) in caplog.text
    _replace(path, dump([READER]))
    clock.now_s += CHECK_S
    assert (_knows(tokens, "root"), _knows(tokens, "console")) == (False, True)


@pytest.mark.parametrize("broken", ["{", "\udcff", None], ids=["wrong", "not UTF-8", "gone"])
def test_a_broken_file_at_start_is_one_line(path: Path, broken: str | None) -> None:
    if broken is None:
        path.unlink()
    else:
        path.write_bytes(broken.encode(errors="surrogateescape"))
    with pytest.raises(InvalidSettings, match=f"^[^\n]*{path}[^\n]*$"):
        access_by(path)


def test_without_a_file_nobody_is_asked() -> None:
    assert access_by(None)(None) == EVERYTHING
