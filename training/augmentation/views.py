"""Transformed views of a tile: rotation, horizontal flip and zoom, as in the seed paper, and more.

The transforms act on the tile that `app.core.tile.decode_tile` returns, so training differs from
serving by these transforms and by nothing else. One affine map with one interpolation does all
three; what lies outside the tile is its mirror image, since black corners are not tissue.

Two more transforms are not the paper's: the square's eight symmetries, which need no interpolation,
and stain jitter (`training.augmentation.stain_jitter`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from training.augmentation.low_resolution import seen_through
from training.augmentation.stain_jitter import jitter_stain
from training.storage.frozen_model import FrozenModel

MIN_MAGNIFICATION: Final = 0.5
"""Half the size. The seed paper's zoom of 1.5 would reach -0.5; the paper says "0.5 to 2.5"."""


class AugmentConfig(FrozenModel):
    """How views are drawn; each view is drawn independently."""

    n_views: int = Field(
        default=1, ge=0, description="Transformed views of each tile, besides the original."
    )
    rotation_degrees: float = Field(
        default=30.0, ge=0, le=180, description="Largest rotation in either direction, in degrees."
    )
    horizontal_flip: bool = Field(default=True, description="Flip half of the views, at random.")
    zoom: float = Field(
        default=0.2,
        ge=0,
        le=4,
        description="Magnification is drawn from [max(1 - zoom, 0.5), 1 + zoom].",
    )
    symmetries: bool = Field(
        default=False,
        description="Turn each view by 0, 90, 180 or 270 degrees and mirror half of them: the "
        "square's eight symmetries (D4), in addition to `rotation_degrees`.",
    )
    stain_scale: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="HED stain jitter: each stain's strength times [1 - x, 1 + x].",
    )
    stain_shift: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="HED stain jitter: each stain's optical density plus [-x, x].",
    )
    low_resolution_px: int = Field(
        default=0,
        ge=0,
        le=2048,
        description="Above 0: the original and each view are also shown reduced to this side and "
        "enlarged again, so that low-resolution tiles (`supplements.thumbnails`) can teach.",
    )

    @property
    def n_full(self) -> int:
        """Views at full resolution: the original and the transformed ones."""
        return 1 + self.n_views

    @property
    def n_shown(self) -> int:
        """All views; those at low resolution follow the others in the same order."""
        return self.n_full * (2 if self.low_resolution_px else 1)


def draw_views(
    tile: NDArray[np.uint8], config: AugmentConfig, seed: int | Sequence[int]
) -> NDArray[np.uint8]:
    """The original tile, `config.n_views` transformed ones, then all of them at low resolution.

    Args:
        tile: uint8 `[side, side, 3]`.
        config: what to draw.
        seed: one number or several, 0 or more; the same arguments give the same views.

    Returns:
        uint8 `[n_shown, side, side, 3]`; index 0 is `tile` unchanged.
    """
    rng = np.random.default_rng(seed)
    views = [tile, *(_draw_view(tile, config, rng) for _ in range(config.n_views))]
    if config.low_resolution_px:
        views += [seen_through(view, config.low_resolution_px) for view in views]
    return np.stack(views)


def _draw_view(
    tile: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A switch that is off draws no random number, so that it does not change other views."""
    angle = math.radians(rng.uniform(-config.rotation_degrees, config.rotation_degrees))
    magnification = rng.uniform(max(1.0 - config.zoom, MIN_MAGNIFICATION), 1.0 + config.zoom)
    mirrored = config.horizontal_flip and bool(rng.integers(2))
    view = tile[:, ::-1] if mirrored else tile
    if config.symmetries:
        view = np.rot90(view, int(rng.integers(4)))
        view = view.transpose(1, 0, 2) if rng.integers(2) else view
    if angle != 0.0 or magnification != 1.0:  # resampling would blur an untransformed view
        view = transform_tile(view, angle, magnification)
    if config.stain_scale > 0 or config.stain_shift > 0:
        view = jitter_stain(view, config.stain_scale, config.stain_shift, rng)
    return view


def transform_tile(
    tile: NDArray[np.uint8], angle: float, magnification: float
) -> NDArray[np.uint8]:
    """Rotate and magnify a tile about its centre.

    Args:
        tile: uint8 `[side, side, 3]`.
        angle: radians, counter-clockwise.
        magnification: above 0; 2 shows half the width.

    Returns:
        uint8 `[side, side, 3]`, bilinear; mirror images fill what lies outside the tile.
    """
    side_px = tile.shape[0]
    # The map reaches half a diagonal, at this magnification, from the centre.
    reach_px = math.ceil(side_px * (math.sqrt(0.5) / magnification - 0.5)) + 2
    pad_px = min(max(reach_px, 2), side_px - 1)
    mirrored = np.pad(tile, ((pad_px, pad_px), (pad_px, pad_px), (0, 0)), mode="symmetric")
    cosine, sine = math.cos(angle) / magnification, math.sin(angle) / magnification
    centre, centre_in = side_px / 2, side_px / 2 + pad_px
    # Pillow maps output to input: input = A (output - centre) + centre_in.
    shift_x = centre_in - (cosine - sine) * centre
    shift_y = centre_in - (sine + cosine) * centre
    view = Image.fromarray(mirrored).transform(
        (side_px, side_px),
        Image.Transform.AFFINE,
        (cosine, -sine, shift_x, sine, cosine, shift_y),
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(view)
