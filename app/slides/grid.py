"""The grid of tiles on a slide: squares of the size that the model was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from app.core.manifest import InputContract
from app.core.slide_errors import SlideFormatError, SlideTooLargeError
from app.core.slide_limits import SlideLimits
from app.slides.facts import SlideFacts

_UM_OF_10X: Final = 10.0
"""Micrometres per pixel times objective power: nominal 10x is 1 um per pixel."""
_MIN_PART: Final = 0.5
"""Share of a tile that must lie on the slide; a smaller rest at the edge is dropped."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Tiles by column and row; the first lies in the upper left corner of level 0.

    Attributes:
        side_level0: side of a tile in pixels of level 0; rarely a whole number.
        columns, rows: number of tiles each way.
        mpp: micrometres per pixel of level 0.
    """

    side_level0: float
    columns: int
    rows: int
    mpp: float

    @property
    def side_um(self) -> float:
        """Side of a tile in micrometres."""
        return self.side_level0 * self.mpp

    @property
    def tile_area_mm2(self) -> float:
        """Area of a tile in square millimetres."""
        return (self.side_um / 1000) ** 2

    def location_level0(self, column: int, row: int) -> tuple[int, int]:
        """X and y of a tile's upper left corner, in pixels of level 0."""
        return round(column * self.side_level0), round(row * self.side_level0)


def make_grid(facts: SlideFacts, contract: InputContract, limits: SlideLimits) -> Grid:
    """Lay the grid of a model's tiles over a slide.

    Args:
        facts: of the slide.
        contract: the size and scale of the model's training tiles.
        limits: on the number of tiles.

    Raises:
        SlideFormatError: the slide is smaller than one tile.
        SlideTooLargeError: the grid has too many tiles.
    """
    side_level0 = tile_side_um(contract) / facts.mpp
    columns = _count(facts.width_px, side_level0)
    rows = _count(facts.height_px, side_level0)
    if columns * rows == 0:
        raise SlideFormatError(
            f"it has {facts.width_px} x {facts.height_px} px, and a tile of the model has "
            f"{side_level0:.0f} px a side at {facts.mpp:g} um per pixel."
        )
    if columns * rows > limits.max_tiles:
        raise SlideTooLargeError(columns * rows, limits.max_tiles, "tiles")
    return Grid(side_level0, columns, rows, facts.mpp)


def tile_side_um(contract: InputContract) -> float:
    """Side of a training tile in micrometres: from its stated resolution, else its objective power.

    Raises:
        SlideFormatError: the model does not say at which scale it was trained.
    """
    mpp = contract.mpp or (
        _UM_OF_10X / contract.objective_power if contract.objective_power else None
    )
    if mpp is None or contract.tile_side_px is None:
        raise SlideFormatError("the model does not state the scale of its training tiles.")
    return mpp * contract.tile_side_px


def _count(length_px: int, side_level0: float) -> int:
    whole = math.floor(length_px / side_level0)
    rest = length_px / side_level0 - whole
    return whole + (rest >= _MIN_PART)
