"""Decodes a file into lines: UTF-8, UTF-16 or Latin-1, with any kind of line ends."""

import io
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from shared.domain.errors import InvalidInput

BLOCK_CHARACTERS = 1 << 20
MAX_LINE_CHARACTERS = 1 << 20
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_MANY_NULS = 0.3
"""The share of NULs among every second byte that tells UTF-16 without a BOM."""
_UNDECODED = re.compile("[\udc80-\udcff]")
_LATIN_1 = {0xDC00 + byte: chr(byte) for byte in range(0x80, 0x100)}
_NO_TEXT = {
    b"PK\x03\x04": "a spreadsheet or a ZIP archive: save it as CSV",
    b"\x1f\x8b": "compressed: unpack it",
    b"PAR1": "a Parquet file: save it as CSV",
}


class Text:
    """The lines of a file; the memory that it needs does not depend on the file's length."""

    def __init__(self, file: BinaryIO, moved: Callable[[int], object]) -> None:
        """Find the encoding.

        Args:
            file: with some bytes to peek at.
            moved: is called with the number of bytes of each block, which for UTF-8 is only nearly right.

        Raises:
            InvalidInput: it is no text.

        """
        head: bytes = file.peek(4096)[:4096]  # type: ignore[attr-defined]  # a BufferedReader has it
        for begin, what in _NO_TEXT.items():
            if head.startswith(begin):
                raise InvalidInput(f"the file is {what} first")
        self._codec = _codec(head)
        self._is_latin_1 = False
        self._moved = moved
        self._bytes_each = 2 if self._codec.startswith("utf-16") else 1
        errors = "replace" if self._bytes_each > 1 else "surrogateescape"
        self._text = io.TextIOWrapper(file, encoding=self._codec, errors=errors, newline=None)

    @property
    def encoding(self) -> str:
        """The encoding of what was read so far."""
        if self._is_latin_1:
            return "Latin-1"
        return "UTF-16" if self._bytes_each > 1 else "UTF-8"

    def lines(self) -> Iterator[str]:
        """Yield the lines without their ends.

        Raises:
            InvalidInput: a line is too long to be one.

        """
        rest, line = "", 0
        while block := self._block():
            *whole, rest = (rest + block).split("\n")
            yield from whole
            line += len(whole)
            if len(rest) > MAX_LINE_CHARACTERS:
                raise InvalidInput(f"line {line + 1} has more than {MAX_LINE_CHARACTERS:,} characters: is this a CSV?")
        if rest:
            yield rest

    def _block(self) -> str:
        block = self._text.read(BLOCK_CHARACTERS)
        self._moved(len(block) * self._bytes_each)
        if not block.isascii() and _UNDECODED.search(block):
            self._is_latin_1 = True
            block = block.translate(_LATIN_1)
        return block


def _codec(head: bytes) -> str:
    for bom, codec in _BOMS.items():
        if head.startswith(bom):
            return codec
    for codec, half in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if half and half.count(0) > _MANY_NULS * len(half):
            return codec
    return "utf-8"
