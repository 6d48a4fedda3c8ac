"""What is drawn on a slide: a mosaic of labelled cells, each of which is one training tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.slides.jpeg_parts import Colours

NON_TUMOR, NON_VIABLE, VIABLE = "non_tumor", "non_viable_tumor", "viable_tumor"
GLASS: Final = ""
CELL_UM: Final = 1024
FALSE_NAME: Final = "DOE^JANE"
"""Drawn on the label and macro images of Aperio files, and written into their comments."""
FALSE_IDS: Final = (FALSE_NAME, "MRN0000000", "S26-00001")

_GLASS_LEVEL: Final = 243

Pixels = NDArray[np.uint8]
Tiles = Mapping[str, Pixels]
"""For each label one tile of 1024 px. A test may give tiles other names than labels."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What to draw.

    Attributes:
        kind: generic tiled TIFF; like Aperio's, with label and macro images that show a false name;
            OME-TIFF, whose levels lie in SubIFDs.
        columns, rows: cells each way.
        mpp: micrometres per pixel of level 0.
        states_mpp: whether the file says so.
        has_pyramid: whether there are lower levels: by 2 each, in Aperio's files by 4.
        offset_px: where the mosaic begins on level 0; what is pushed out is cut off.
        colours: of the JPEG tiles; `rgb` without a marker that says so.
        tables_apart: whether the JPEG tables are in a tag, not in each tile.
        compression: `jpeg`, or one that only OpenSlide reads here.
        labels: by row and column; drawn by lot if None.
        tissue, necrosis, non_tumor: share of cells, of tumour and of tissue, if drawn by lot.
        noise: standard deviation in grey levels of each pixel of level 0.
    """

    kind: Literal["tiff", "svs", "ome"] = "tiff"
    columns: int = 5
    rows: int = 4
    mpp: float = 1.0
    states_mpp: bool = True
    has_pyramid: bool = True
    offset_px: tuple[int, int] = (0, 0)
    colours: Colours = "ycbcr"
    tables_apart: bool = True
    compression: Literal["jpeg", "deflate", "lzw"] = "jpeg"
    tile_px: int = 256
    quality: int = 80
    labels: tuple[tuple[str, ...], ...] | None = None
    tissue: float = 0.8
    necrosis: float = 0.8
    non_tumor: float = 0.3
    noise: float = 0.0
    seed: int = 1


@dataclass(frozen=True)
class DrawnSlide:
    """A slide file and its truth."""

    path: Path
    drawing: Drawing
    labels: tuple[tuple[str, ...], ...]
    tiles: Tiles

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of level 0."""
        side_px = round(CELL_UM / self.drawing.mpp)
        return self.drawing.columns * side_px, self.drawing.rows * side_px

    @property
    def ratio(self) -> float:
        """Cells of dead tumour, of all cells of tumour."""
        dead, alive = self.count(NON_VIABLE), self.count(VIABLE)
        return dead / (dead + alive)

    def count(self, label: str) -> int:
        """Cells with a label."""
        return sum(row.count(label) for row in self.labels)

    def cells(
        self, columns: slice = slice(None), rows: slice = slice(None)
    ) -> Iterator[tuple[int, int, str]]:
        """Column, row and label of each cell that is not glass."""
        for row in range(len(self.labels))[rows]:
            for column in range(len(self.labels[row]))[columns]:
                label = self.labels[row][column]
                if label:
                    yield column, row, label

    def location_level0(self, column: int, row: int) -> tuple[int, int]:
        """X and y of a cell's upper left corner on level 0."""
        side_px = round(CELL_UM / self.drawing.mpp)
        left, top = self.drawing.offset_px
        return column * side_px + left, row * side_px + top

    def tile(self, column: int, row: int) -> Pixels:
        """The cell as a training tile, uint8 `[1024, 1024, 3]`."""
        return np.ascontiguousarray(_turned(self.tiles[self.labels[row][column]], column, row))

    def region(self, x: int, y: int, width: int, height: int) -> Pixels:
        """Pixels of level 0, glass where there is no cell."""
        pixels = np.full((height, width, 3), _GLASS_LEVEL, np.uint8)
        side_px = round(CELL_UM / self.drawing.mpp)
        first_x, first_y = self.location_level0(0, 0)
        columns, rows = _within(x - first_x, width, side_px), _within(y - first_y, height, side_px)
        for column, row, label in self.cells(columns, rows):
            left, top = (
                a - b for a, b in zip(self.location_level0(column, row), (x, y), strict=True)
            )
            x0, x1 = max(left, 0), min(left + side_px, width)
            y0, y1 = max(top, 0), min(top + side_px, height)
            if x0 < x1 and y0 < y1:
                enlarged = _enlarged(self.tiles[label], side_px, self.drawing.noise)
                cell = _turned(enlarged, column, row)
                pixels[y0:y1, x0:x1] = cell[y0 - top : y1 - top, x0 - left : x1 - left]
        return pixels


def _within(begin: int, length: int, side_px: int) -> slice:
    """The cells, along one axis, that have pixels between two places."""
    return slice(max(0, begin // side_px), max(0, -(-(begin + length) // side_px)))


def _turned(pixels: Pixels, column: int, row: int) -> Pixels:
    """A view, turned and mirrored differently from cell to cell."""
    turned: Pixels = np.rot90(pixels, (column + 2 * row) % 4)
    return turned[:, ::-1] if (column + row) % 3 == 0 else turned


_MAX_ENLARGED: Final = 16
_enlarged_tiles: Final[dict[tuple[int, int, float], tuple[Pixels, Pixels]]] = {}
"""By the identity of the tile, which is kept beside the result so that it stays unique."""


def _enlarged(tile: Pixels, side_px: int, noise: float) -> Pixels:
    key = (id(tile), side_px, noise)
    kept = _enlarged_tiles.pop(key, None)
    if kept is None:
        if len(_enlarged_tiles) == _MAX_ENLARGED:
            _enlarged_tiles.pop(next(iter(_enlarged_tiles)))  # the one used longest ago
        kept = _enlarge(tile, side_px, noise), tile
    _enlarged_tiles[key] = kept
    return kept[0]


def _enlarge(tile: Pixels, side_px: int, noise: float) -> Pixels:
    image = Image.fromarray(tile).resize((side_px, side_px), Image.Resampling.BICUBIC)
    if not noise:
        return np.asarray(image)
    grain = np.random.default_rng(side_px).normal(0, noise, (side_px, side_px, 1))
    grainy: Pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
    return grainy
