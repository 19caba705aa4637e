"""Words that must not come back: private names for what has a plain one (docs and code, not the changelog)."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from power_cli.up import ROOT

BETTER = {
    "arrivals": "first-seen times",
    "asker": "client",
    "fate": "batch status",
    "fates": "batch status",
    "finishing": "acknowledgements",
    "guarded": "authenticated",
    "fresh": "recent entries",
    "morgue": "dead letters",
    "revisit": "re-check",
    "revisits": "re-check queue",
    "tails": "neighbour cache",
    "vitals": "metrics",
    "wish": "request",
    "wishes": "requests",
    "shows himself": "heartbeat",
    "shows itself": "heartbeat",
    "sign of life": "heartbeat, ping",
    "signs of life": "heartbeats, pings",
    "who asks": "client",
}
"""Each word, also as a part of an identifier (`_fates`, `FreshEntries`), or phrase, and what to write."""

LITERALS = ("arrivals.sqlite", "CREATE TABLE fates")
"""Names in users' data folders, which stay."""

ALLOWED = {
    ("docs/forecast.md", "fresh"): "English: how old a forecast's data are",
    ("docs/http.md", "fresh"): "the same",
    **{
        (path, "fates"): "the table in outboxes on users' disks"
        for path in (
            "ingest_api/outbox/batch_status.py",
            "ingest_api/outbox/from_1.sql",
            "ingest_api/outbox/from_2.sql",
            "ingest_api/outbox/schema.sql",
            "tests/component/ingest_api/outbox_version_1.sql",
            "tests/system/chaos/test_checker.py",
        )
    },
    **{
        (path, "arrivals"): "the table in users' data folders"
        for path in (
            "normalizer_worker/ledger/first_seen.py",
            "tests/component/normalizer_worker/test_first_seen.py",
        )
    },
}
"""Places where a word means what everybody means by it: file and word, and why."""

FOLDERS = (
    *("benchmarks", "docs", "edge", "grafana", "influxdb", "ingest_api", "mosquitto", "normalizer_worker"),
    *("power_cli", "prometheus", "query_api", "shared", "tests"),
)
SUFFIXES = {".conf", ".css", ".example", ".html", ".js", ".md", ".py", ".sh", ".sql", ".template", ".toml", ".yml"}
NOT_READ = {"CHANGELOG.md", "tests/unit/test_words.py"}
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_PHRASES = [each for each in BETTER if " " in each]


def _files() -> Iterator[str]:
    """Give the paths of all code and documents, from the project's folder on."""
    for path in (*ROOT.iterdir(), *(each for name in FOLDERS for each in (ROOT / name).rglob("*"))):
        name = str(path.relative_to(ROOT))
        if path.is_file() and (path.suffix in SUFFIXES or not path.suffix) and name not in NOT_READ:
            yield name


def words_in(text: str) -> set[str]:
    """Give the words and phrases of the list that a text has."""
    for each in LITERALS:
        text = text.replace(each, "")
    lower = " ".join(text.lower().split())
    return ({each.lower() for each in _PART.findall(text)} & {*BETTER}) | {each for each in _PHRASES if each in lower}


def _found(path: str) -> Iterator[str]:
    try:
        lines = (ROOT / path).read_text("utf-8").splitlines()
    except UnicodeDecodeError:  # no text
        return
    for word in words_in(Path(path).name):
        yield f"{path}: the file's name has {word!r}: {BETTER[word]}"
    for number, line in enumerate(lines, 1):
        for word in sorted(words_in(line)):
            if (path, word) not in ALLOWED:
                yield f"{path}:{number}: {word!r}: {BETTER[word]}"


def test_private_words_do_not_come_back() -> None:
    assert [found for path in sorted(_files()) for found in _found(path)] == []


@pytest.mark.parametrize("text", ["self._fates", "FateOf", "FATES", "no  sign\nof life", "a Fresh one"])
def test_a_word_is_found_in_any_form(text: str) -> None:
    assert words_in(text)


def test_words_within_others_and_names_of_files_are_none() -> None:
    assert words_in("refresh fateful arrivals.sqlite wishing") == set()


def test_every_exception_is_needed() -> None:
    assert [key for key in ALLOWED if key[1] not in words_in((ROOT / key[0]).read_text("utf-8"))] == []
