"""The rules for a tile of the collection, and the check of its pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from PIL import Image

from app.core.errors import TileError
from app.core.tile import TileLimits, decode_tile

COLLECTION_SIDE_PX: Final = 1024
"""Side of the collection's tiles."""
_LIMITS: Final = TileLimits(max_bytes=2**30, min_side_px=1)  # other sizes break a rule


class Rule(StrEnum):
    """A rule that a tile can break."""

    NAME = "the name must be CASE SLIDE-X-Y"
    LABEL = "the classification must be one of the collection's"
    REPEATED_ROW = "a tile must have one row"
    NO_FILE = "a row must have a file"
    NO_ROW = "a file must have a row"
    UNREADABLE = "the file must be an image that decodes"
    NOT_RGB = "the pixels must be RGB"
    WRONG_SIZE = "the tile must have the collection's size"
    DUPLICATE = "no two tiles may have the same name or the same bytes"


@dataclass(frozen=True, slots=True)
class TileProblem:
    """A tile (its file, or its row if there is no file) and the rule that it breaks."""

    rule: Rule
    where: str
    detail: str = ""

    def __str__(self) -> str:
        """`WHERE: RULE (DETAIL)`."""
        return f"{self.where}: {self.rule.value}" + (f" ({self.detail})" if self.detail else "")


def inspect_pixels(content: bytes, where: str, side_px: int) -> TileProblem | None:
    """Decode a tile and return the first rule that its pixels break, or None.

    Args:
        content: the encoded tile.
        where: the tile's name in the problem.
        side_px: the side that it must have, in pixels.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode, size = image.mode, image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return TileProblem(Rule.UNREADABLE, where, str(error).partition("<_io")[0].strip())
    if mode != "RGB":
        return TileProblem(Rule.NOT_RGB, where, f"its mode is {mode}")
    if size != (side_px, side_px):
        return TileProblem(
            Rule.WRONG_SIZE, where, f"{size[0]} x {size[1]} px, not {side_px} x {side_px}"
        )
    try:
        decode_tile(content, _LIMITS)
    except TileError as error:
        return TileProblem(Rule.UNREADABLE, where, str(error))
    return None
