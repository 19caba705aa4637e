"""The code in our documents, to be run as a reader would."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from power_cli.up import ROOT

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sample:
    """A block of code, its language, and what the document says that it prints; None where it says nothing."""

    language: str
    code: str
    output: str | None


def section(path: str, heading: str = "") -> str:
    """Give what stands under a heading (`## Queries`), up to the next one of its level; all of it without one."""
    text = (ROOT / path).read_text("utf-8")
    if not heading:
        return text
    level, _, _ = heading.partition(" ")
    _, found, rest = text.partition(f"{heading}\n")
    assert found, f"{path} has no {heading}"
    return rest.partition(f"\n{level} ")[0]


def samples(text: str) -> Iterator[Sample]:
    """Give the blocks of a text that say their language, each with the unnamed one that follows it at once."""
    blocks = list(_BLOCK.finditer(text))
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1]:
            follows = after is not None and not after[1] and not text[block.end() : after.start()].strip()
            yield Sample(block[1], block[2], after[2] if follows and after else None)
