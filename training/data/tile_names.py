"""A tile's name says where it was cut: case, slide (block) and the corner's x and y.

The table spells `Case 48 - P5 C20-15162-19423`; the file is `Case-48-P5-C20-15162-19423.jpg`.
`P9 B28-22141-15533` has no word "Case": the case is P9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_NAME: Final = re.compile(
    r"(?P<case>Case-[0-9]+|P[0-9]+)"  # who
    r"(?:-(?P<part>P[0-9]+))?"  # "P5" of "Case 48 - P5"
    r"-(?P<block>[A-Z]+[0-9]+)"  # which block, so which slide
    r"-(?P<x>[0-9]+)-(?P<y>[0-9]+)"
)
_SEPARATOR: Final = re.compile(r"[ -]+")


@dataclass(frozen=True, slots=True)
class TileName:
    """A parsed name.

    Attributes:
        case: the patient, `Case 48` or `P9`; patient splits group by it.
        slide: the whole name without the corner, `Case-48-P5-C20`; slide splits group by it.
        x, y: the tile's corner on the slide, in pixels of a scale that is not documented.
    """

    case: str
    slide: str
    x: int
    y: int


def file_stem_of(table_name: str) -> str:
    """Spell a table's tile name as its file does: every run of spaces and `-` is one `-`."""
    return _SEPARATOR.sub("-", table_name.strip())


def parse_tile_name(name: str) -> TileName:
    """Parse a tile's name in either spelling (table, or file without its extension).

    Raises:
        ValueError: the name does not follow the collection's pattern.
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
