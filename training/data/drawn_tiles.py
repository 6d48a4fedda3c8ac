"""Drawn H&E tiles: a procedural generator for tests and golden tiles. Not clinical images.

A tile is made of two maps of stain concentration, haematoxylin and eosin, which the law of Beer and
Lambert turns into light. The label decides what the maps show:

- `non_tumor`: bands of collagen between empty (white) spaces, and a few small spindle nuclei;
- `non_viable_tumor`: a granular pink field with pale remains of nuclei;
- `viable_tumor`: crowded, large, dark nuclei of uneven size on a bluish field;
- `fat`: large empty cells with thin pink walls and few nuclei;
- `cartilage`: a pale blue field with few nuclei in round, empty spaces.

Only NumPy and Pillow are imported, so that tests of the service can draw without TensorFlow.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Map = NDArray[np.float64]
"""Concentration of a stain, `[side, side]`, 0 (none) to about 1.5 (dense)."""

# Optical density per channel of one unit of stain. Haematoxylin: Ruifrok & Johnston 2001 (Anal
# Quant Cytol Histol 23:291), as in ImageJ's colour deconvolution for "H&E". Eosin: less pure than
# theirs, so that tiles absorb red, green and blue in the proportions of the collection's tiles.
_HAEMATOXYLIN_RGB: Final = np.array([0.644, 0.717, 0.267])
_EOSIN_RGB: Final = np.array([0.16, 0.72, 0.46])
_REFERENCE_SIDE_PX: Final = 320
"""Sizes of nuclei below are in pixels of a tile of this side; they scale with the tile."""


@dataclass(frozen=True, slots=True)
class _Nuclei:
    """How many nuclei to draw, and the ranges of their radius (px), elongation and darkness."""

    count: int
    radius_px: tuple[float, float]
    elongation: tuple[float, float]
    density: tuple[float, float]


_SPINDLE: Final = _Nuclei(24, (2.0, 3.2), (2.0, 4.0), (0.7, 1.0))
_GHOST: Final = _Nuclei(90, (3.0, 5.0), (1.0, 1.5), (0.10, 0.28))
_CROWDED: Final = _Nuclei(420, (4.0, 8.0), (1.0, 1.9), (0.8, 1.4))


def draw_tile(label_id: str, side_px: int, seed: int) -> NDArray[np.uint8]:
    """Draw one tile.

    Args:
        label_id: one of `DRAWINGS`.
        side_px: side of the square, at least 16 px.
        seed: 0 or more. The same arguments draw the same tile.

    Returns:
        uint8 `[side_px, side_px, 3]`, RGB, 0 to 255.

    Raises:
        ValueError: `label_id` is unknown, or `side_px` is too small.
    """
    if label_id not in _STAINS_BY_LABEL:
        raise ValueError(f"no drawing for {label_id!r}: one of {', '.join(_STAINS_BY_LABEL)}")
    if side_px < 16:
        raise ValueError(f"side_px is {side_px}, at least 16 is needed")
    # The label is part of the seed, so that two labels with one seed get unrelated tiles.
    rng = np.random.default_rng([seed, list(_STAINS_BY_LABEL).index(label_id)])
    haematoxylin, eosin = _STAINS_BY_LABEL[label_id](side_px, rng)
    density = haematoxylin[..., None] * _HAEMATOXYLIN_RGB + eosin[..., None] * _EOSIN_RGB
    light = 250.0 * np.exp(-np.clip(density, 0.0, None)) + rng.normal(0.0, 2.0, density.shape)
    tile: NDArray[np.uint8] = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return tile


def encode_tile(tile: NDArray[np.uint8], format_: str = "PNG") -> bytes:
    """Encode a tile (uint8 `[H, W, 3]` RGB) as an image file: `PNG`, or `JPEG` at quality 95."""
    stream = io.BytesIO()
    Image.fromarray(tile).save(stream, format=format_, quality=95)
    return stream.getvalue()


def _draw_non_tumor(side_px: int, rng: np.random.Generator) -> tuple[Map, Map]:
    # Wavy bands: a sine along one direction, bent by low-frequency noise.
    angle = rng.uniform(0.0, math.pi)
    rows, columns = np.mgrid[0:side_px, 0:side_px] / side_px
    across = rows * math.sin(angle) + columns * math.cos(angle)
    bend = _cloud(side_px, 4, rng) * 0.5
    bands = 0.5 + 0.5 * np.sin(2.0 * math.pi * (rng.uniform(3.0, 5.0) * across + bend * 3.0))
    tissue = np.clip((bands - 0.35) * 4.0, 0.0, 1.0)
    eosin = tissue * (0.42 + 0.12 * _cloud(side_px, 32, rng)) + 0.03
    haematoxylin = _nuclei(side_px, _SPINDLE, rng) * tissue + 0.03 * tissue
    return haematoxylin, eosin


def _draw_non_viable(side_px: int, rng: np.random.Generator) -> tuple[Map, Map]:
    grain = _cloud(side_px, 96, rng)
    eosin = 0.50 + 0.25 * _cloud(side_px, 6, rng) + 0.18 * grain
    haematoxylin = 0.10 + 0.06 * grain + _nuclei(side_px, _GHOST, rng)
    return haematoxylin, eosin


def _draw_viable(side_px: int, rng: np.random.Generator) -> tuple[Map, Map]:
    field = _cloud(side_px, 8, rng)
    eosin = 0.34 + 0.14 * field
    haematoxylin = 0.24 + 0.10 * field + _nuclei(side_px, _CROWDED, rng)
    return haematoxylin, eosin


def _draw_fat(side_px: int, rng: np.random.Generator) -> tuple[Map, Map]:
    # The walls are where the distances to the two nearest cell centres are equal.
    nearest, second = _two_nearest(side_px, 40, rng)
    walls = np.exp(-((second - nearest) / 0.012))
    eosin = 0.55 * walls + 0.02
    haematoxylin = _nuclei(side_px, _SPINDLE, rng) * (walls > 0.2) + 0.02
    return haematoxylin, eosin


def _draw_cartilage(side_px: int, rng: np.random.Generator) -> tuple[Map, Map]:
    nearest, _ = _two_nearest(side_px, 30, rng)
    matrix = np.clip((nearest - 0.025) / 0.01, 0.0, 1.0)
    nuclei = 0.9 * np.exp(-((nearest / 0.012) ** 2))
    haematoxylin = matrix * (0.30 + 0.08 * _cloud(side_px, 6, rng)) + nuclei
    eosin = 0.10 * matrix + 0.04
    return haematoxylin, eosin


_STAINS_BY_LABEL: Final[dict[str, Callable[[int, np.random.Generator], tuple[Map, Map]]]] = {
    "non_tumor": _draw_non_tumor,
    "non_viable_tumor": _draw_non_viable,
    "viable_tumor": _draw_viable,
    "fat": _draw_fat,
    "cartilage": _draw_cartilage,
}
DRAWINGS: Final = tuple(_STAINS_BY_LABEL)
"""The labels that can be drawn. New ones go to the end: the position is part of the seed."""


def _cloud(side_px: int, cells: int, rng: np.random.Generator) -> Map:
    """Smooth noise in about [-1, 1]: a grid of `cells` x `cells` random values, resampled."""
    cells = min(cells, side_px)
    coarse = Image.fromarray(rng.uniform(-1.0, 1.0, (cells, cells)).astype(np.float32))
    smooth = coarse.resize((side_px, side_px), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float64)


def _two_nearest(side_px: int, n_points: int, rng: np.random.Generator) -> tuple[Map, Map]:
    """Distances of every pixel to the nearest two of some random points, in sides of the tile."""
    points = rng.uniform(0.0, 1.0, (n_points, 2))
    rows, columns = np.mgrid[0:side_px, 0:side_px] / side_px
    nearest = np.full((side_px, side_px), np.inf)
    second = nearest.copy()
    for row, column in points:
        distance = np.hypot(rows - row, columns - column)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return nearest, second


def _nuclei(side_px: int, look: _Nuclei, rng: np.random.Generator) -> Map:
    """Uneven ellipses with a soft edge; later ones cover earlier ones."""
    scale = side_px / _REFERENCE_SIDE_PX
    canvas = Image.new("L", (side_px, side_px), 0)
    pen = ImageDraw.Draw(canvas)
    turn = np.linspace(0.0, 2.0 * math.pi, 18, endpoint=False)
    # All numbers at once, in the order of one nucleus after the other.
    chances = rng.random((look.count, 6 + turn.size))
    x, y, size, stretch, turned, uneven, dark = np.split(chances, [1, 2, 3, 4, 5, -1], axis=1)
    centre_x, centre_y = x * side_px, y * side_px
    short = _between(*look.radius_px, size) * scale
    long = short * np.sqrt(_between(*look.elongation, stretch))
    tilt = turned * math.pi
    wobble = 1.0 + _between(-0.12, 0.12, uneven)
    along, aside = long * np.cos(turn) * wobble, short * np.sin(turn) * wobble
    outline_x = centre_x + along * np.cos(tilt) - aside * np.sin(tilt)
    outline_y = centre_y + along * np.sin(tilt) + aside * np.cos(tilt)
    outlines = np.stack([outline_x, outline_y], axis=-1).reshape(look.count, -1)
    # With 160 grey levels per unit of stain the darkest nuclei stay below 255.
    shades = np.minimum(np.rint(160.0 * _between(*look.density, dark)), 255)
    for outline, shade in zip(outlines.tolist(), shades[:, 0].astype(int).tolist(), strict=True):
        pen.polygon(outline, fill=shade)
    soft = canvas.filter(ImageFilter.GaussianBlur(0.8 * scale))
    return np.asarray(soft, dtype=np.float64) / 160.0


def _between(low: float, high: float, chances: Map) -> Map:
    """Numbers in [low, high) from numbers in [0, 1)."""
    return low + (high - low) * chances
