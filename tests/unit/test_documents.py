"""The documents: that what they link to is there."""

import re

import pytest

from power_cli.up import ROOT

DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "edge/**/*.md", "mosquitto/**/*.md")
    for path in ROOT.glob(pattern)
)


def _prose(path: str) -> str:
    """Give a document without its code."""
    return re.sub(r"(?ms)^```.*?^```$|`[^`\n]*`", "", (ROOT / path).read_text("utf-8"))


def _anchors(path: str) -> set[str]:
    """Give the names that GitHub gives to the headings."""
    text = re.sub(r"(?ms)^```.*?^```$", "", (ROOT / path).read_text("utf-8"))
    headings = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", each) for each in re.findall(r"(?m)^#+ (.+)$", text))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_link_leads_somewhere(path: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / path).parent / name if name else ROOT / path
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(str(file)), target


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "SECURITY.md"])
def test_document_is_found_from_the_readme(document: str) -> None:
    assert f"]({document})" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path != "CHANGELOG.md"])
def test_named_test_files_exist(path: str) -> None:
    text = (ROOT / path).read_text("utf-8")
    assert [name for name in re.findall(r"(?<![\w/])tests/[\w/.]*\w", text) if not (ROOT / name).exists()] == []
