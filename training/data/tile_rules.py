"""The rules for a labelled tile, and the check of its pixels."""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from PIL import Image
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from app.core.errors import TileError
from app.core.formats import FORMATS
from app.core.tile import DEFAULT_LIMITS, TileLimits, decode_tile
from training.errors import DataError

COLLECTION_SIDE_PX: Final = 1024
"""Side of the collection's tiles."""
_LIMITS: Final = TileLimits(max_bytes=2**30, min_side_px=1)  # other sizes break a rule
MIN_SIDE_PX: Final = DEFAULT_LIMITS.min_side_px
"""The service refuses smaller tiles."""
COLLECTION_MODES: Final = frozenset({"RGB"})
OWN_MODES: Final = frozenset({"RGB", "RGBA", "P"})
"""Pillow's modes: RGB, also on a transparent background or with a palette."""

SYNTHETIC_NOTE: Final = "Synthetic: made by a GAN, not a photograph of tissue. Research use only."
"""Comment in the files of `osteo-train gan sample`."""

_Side = Annotated[int, Field(ge=MIN_SIDE_PX)]


def _without_text(value: Any) -> Any:
    """`512`, `256-1024` or `any`, as the command line has them."""
    if not isinstance(value, str):
        return value
    low, dash, high = value.partition("-")
    if dash and low.strip().isdecimal() and high.strip().isdecimal():
        return (int(low), int(high))
    return int(value) if value.strip().isdecimal() else value


def _ascending(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) == 2 and value[0] > value[1]:
        raise ValueError(f"the smallest side is {value[0]}, the largest {value[1]}")
    return value


TileSide = Annotated[
    _Side | tuple[_Side, _Side] | Literal["any"],
    BeforeValidator(lambda value: _ascending(_without_text(value))),
]
"""The side that tiles must have in pixels, the smallest and the largest side, or `any`."""


def parse_side(text: str) -> TileSide:
    """Read `512`, `256-1024` or `any`.

    Raises:
        DataError: it is none of them, or too small.
    """
    try:
        return TypeAdapter[TileSide](TileSide).validate_python(text)
    except ValidationError as error:
        raise DataError(
            f"{text!r} is not a side of tiles: use N, MIN-MAX or any, in pixels, of at least "
            f"{MIN_SIDE_PX}."
        ) from error


class Rule(StrEnum):
    """A rule that a tile can break."""

    NAME = "the name must be CASE SLIDE-X-Y"
    LABEL = "the classification must be one of the labels"
    PLACE = "the file must be inside the data folder, in a folder of its label or named by a row"
    GROUP = "slide, case, x and y must be given for every tile, or for none"
    REPEATED_ROW = "a tile must have one row"
    NO_FILE = "a row must have a file"
    NO_ROW = "a file must have a row"
    MEASURE = "the features of a row must be numbers"
    UNREADABLE = "the file must be an image that decodes"
    NOT_RGB = "the pixels must be RGB"
    SYNTHETIC = "the tile must not be made by a GAN"
    WRONG_SIZE = "the tile must have the side of data.tile_side_px"
    DUPLICATE = "no two tiles may have the same name or the same bytes"


@dataclass(frozen=True, slots=True)
class TileProblem:
    """A tile (its file, or its row if there is no file) and the rule that it breaks.

    `raw_label` is the classification that no label has, if that is the problem.
    """

    rule: Rule
    where: str
    detail: str = ""
    raw_label: str | None = None

    def __str__(self) -> str:
        """`WHERE: RULE (DETAIL)`."""
        return f"{self.where}: {self.rule.value}" + (f" ({self.detail})" if self.detail else "")


def inspect_pixels(
    content: bytes, where: str, side_px: TileSide, modes: Collection[str] = COLLECTION_MODES
) -> TileProblem | None:
    """Decode a tile and return the first rule that its pixels break, or None.

    Args:
        content: the encoded tile.
        where: the tile's name in the problem.
        side_px: the side that it must have.
        modes: the modes of Pillow that it may have.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            mode, size, comment = image.mode, image.size, image.info.get("Comment")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return TileProblem(Rule.UNREADABLE, where, str(error).partition("<_io")[0].strip())
    if comment == SYNTHETIC_NOTE:
        return TileProblem(Rule.SYNTHETIC, where)
    if mode not in modes:
        return TileProblem(Rule.NOT_RGB, where, f"its mode is {mode}")
    if not _has_side(size, side_px):
        return TileProblem(
            Rule.WRONG_SIZE,
            where,
            f"{size[0]} x {size[1]} px, not {describe_side(side_px)}; data.tile_side_px in the "
            "configuration or --tile-side-px allows N, a range or any",
        )
    try:
        decode_tile(content, _LIMITS)
    except TileError as error:
        return TileProblem(Rule.UNREADABLE, where, str(error))
    return None


def describe_side(side_px: TileSide) -> str:
    """`512 x 512`, `256 to 1024 px a side`, or the limits of `any`."""
    if side_px == "any":
        n_pixels = DEFAULT_LIMITS.max_pixels
        return f"at least {MIN_SIDE_PX} px a side and at most {n_pixels} pixels"
    if isinstance(side_px, tuple):
        return f"{side_px[0]} to {side_px[1]} px a side"
    return f"{side_px} x {side_px}"


def _has_side(size: tuple[int, int], side_px: TileSide) -> bool:
    if side_px == "any":
        return min(size) >= MIN_SIDE_PX and size[0] * size[1] <= DEFAULT_LIMITS.max_pixels
    if isinstance(side_px, tuple):
        return side_px[0] <= min(size) and max(size) <= side_px[1]
    return size == (side_px, side_px)
