"""File names as text that can be printed anywhere: any bytes, any encoding, any width."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from rich.cells import cell_len

_SPACES = "Zs"
"""Unicode's category of spaces, which `str.isprintable` excludes; Japanese names contain U+3000."""


def path_text(path: Path) -> str:
    r"""The path as text that UTF-8 can encode; a byte that is not UTF-8 becomes, say, `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def one_line(text: str, encoding: str = "utf-8") -> str:
    """Escape what breaks a line, controls a terminal or is missing from an encoding.

    Args:
        text: such as a name with a line break, an escape sequence or a change of direction.
        encoding: of the output.
    """
    escaped = "".join(
        char
        if char.isprintable() or unicodedata.category(char) == _SPACES
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
    return escaped.encode(encoding, "backslashreplace").decode(encoding)


def shown(path: Path) -> str:
    """The path in a sentence for people."""
    return one_line(path_text(path))


def shorten_left(text: str, width: int, encoding: str = "utf-8") -> str:
    """Cut the start of a text that is wider than `width` columns: names differ at their ends."""
    if cell_len(text) <= width:
        return text
    mark = _ellipsis(encoding)
    n_kept = _n_fitting(reversed(text), width - len(mark))
    return mark + text[len(text) - n_kept :]


def shorten_right(text: str, width: int, encoding: str = "utf-8") -> str:
    """Cut the end of a text that is wider than `width` columns."""
    if cell_len(text) <= width:
        return text
    mark = _ellipsis(encoding)
    return text[: _n_fitting(text, width - len(mark))] + mark


def _n_fitting(chars: Iterable[str], width: int) -> int:
    """How many of the first characters fit into `width` columns."""
    used = itertools.accumulate(cell_len(char) for char in chars)
    return sum(1 for _ in itertools.takewhile(lambda columns: columns <= width, used))


def _ellipsis(encoding: str) -> str:
    try:
        "…".encode(encoding)
    except UnicodeEncodeError:
        return ".."
    return "…"
