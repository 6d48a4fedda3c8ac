"""A tile's name says where it was cut: case, slide (block), and x and y of the corner.

The table has `Case 48 - P5 C20-15162-19423`; the file is `Case-48-P5-C20-15162-19423.jpg`. In
`P9 B28-22141-15533`, which lacks the word "Case", the case is P9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_NAME: Final = re.compile(
    r"(?P<case>Case-[0-9]+|P[0-9]+)"
    r"(?:-(?P<part>P[0-9]+))?"  # "P5" of "Case 48 - P5"
    r"-(?P<block>[A-Z]+[0-9]+)"
    r"-(?P<x>[0-9]+)-(?P<y>[0-9]+)"
)
_SEPARATOR: Final = re.compile("[\\s\u2010-\u2015\u2212-]+")
"""Spaces, also those of web pages that do not break, and every kind of dash."""
_SUFFIX: Final = re.compile(r"(\s*\.(jpe?g|png|tiff?|webp))+\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TileName:
    """A parsed name.

    Attributes:
        case: the patient, `Case 48` or `P9`; patient splits group by it.
        slide: the name without the corner, `Case-48-P5-C20`; slide splits group by it.
        x, y: the tile's corner on the slide, in pixels of an undocumented scale.
    """

    case: str
    slide: str
    x: int
    y: int


def file_stem_of(table_name: str) -> str:
    """The file's stem for a name in the table, which may end in `.jpg`.

    Each run of spaces and dashes becomes one `-`.
    """
    return _SEPARATOR.sub("-", _SUFFIX.sub("", table_name.strip()).strip())


def parse_tile_name(name: str) -> TileName:
    """Parse a tile's name, as the table spells it or as the stem of its file.

    Raises:
        ValueError: the name does not follow the pattern of the collection.
    """
    stem = file_stem_of(name)
    match = _NAME.fullmatch(stem)
    if match is None:
        raise ValueError(f"{name!r} is not CASE SLIDE-X-Y, such as 'Case 48 - P5 C20-15162-19423'")
    return TileName(
        case=match["case"].replace("-", " "),
        slide=stem[: match.start("x") - 1],
        x=int(match["x"]),
        y=int(match["y"]),
    )
