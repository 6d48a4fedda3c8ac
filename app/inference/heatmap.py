"""Evidence maps as pictures: a heat map over the tile, also beside the tile, or on its own."""

from __future__ import annotations

import ctypes
import io
import zlib
from contextlib import suppress
from functools import partial
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageStat

from app.core.appearance import find_tissue
from app.inference.colour_scale import colour_evidence, draw_colour_bar
from app.inference.picture_margin import add_margin

Picture = Literal["overlay", "side-by-side", "heat"]

_GLASS_PX: Final = 224
"""Glass is told from tissue in the tile at about this size, like the model's input, so that the
same gaps in the tissue are glass whatever the size of the picture."""
# Level 6, the default, takes three times as long and saves a sixth of the bytes. Run lengths alone
# take a quarter less time than level 1, for as many bytes (`overlay`) or two thirds (`heat`).
_COMPRESSION: Final = {"compress_level": 1, "compress_type": zlib.Z_RLE}
_LARGE_PX: Final = 1024
"""Pictures of this size and larger leave tens of megabytes of freed memory in the process."""


def draw_overlay(
    tile: NDArray[np.uint8],
    grid: list[list[float]],
    opacity: float,
    caption: str,
    *,
    beside: bool = False,
) -> bytes:
    """Draw evidence over a tile, except where the tile is glass, with a colour bar and a caption.

    Args:
        tile: uint8 RGB `[size, size, 3]`, the model's view of the tile at the size to draw.
        grid: evidence in [0, 1], `[h][w]`.
        opacity: opacity of the heat map at its maximum, in [0, 1].
        caption: lines of text beneath the picture.
        beside: whether to draw the plain tile on the left of the overlay.

    Returns:
        A PNG file, RGB: the overlay in the upper left corner of a white margin; with `beside`, the
        tile and the overlay.
    """
    png = _encode_png(_compose(Image.fromarray(tile), grid, opacity, caption, beside))
    _return_freed_memory(len(tile))
    return png


def draw_heat(
    tile: NDArray[np.uint8], grid: list[list[float]], size_px: int, opacity: float
) -> bytes:
    """Draw evidence on a transparent background, to be laid over the tile by a viewer.

    Args:
        tile: uint8 RGB `[side, side, 3]`, the model's view of the tile at any size; it says where
            the glass is, which stays transparent.
        grid: evidence in [0, 1], `[h][w]`.
        size_px: side of the picture.
        opacity: opacity of the heat map at its maximum, in [0, 1].

    Returns:
        A PNG file, RGBA, `size_px` x `size_px`.
    """
    png = _encode_png(_layer(Image.fromarray(tile), grid, size_px, opacity))
    _return_freed_memory(size_px)
    return png


def _compose(
    tile: Image.Image, grid: list[list[float]], opacity: float, caption: str, beside: bool
) -> Image.Image:
    """Draw an overlay; see `draw_overlay`."""
    small = tile.reduce(max(1, tile.width // _GLASS_PX))
    tissue = _find_tissue(small)
    colours, alpha = _colour_grid(grid, tile.width, opacity, tissue)
    drawn = Image.composite(colours, tile, alpha)
    if beside:
        drawn = _beside(tile, drawn)
    bar = partial(draw_colour_bar, opacity=opacity, background=_mean_colour(small, tissue))
    return add_margin(drawn, bar, caption)


def _layer(tile: Image.Image, grid: list[list[float]], size_px: int, opacity: float) -> Image.Image:
    """Draw a layer; see `draw_heat`."""
    colours, alpha = _colour_grid(grid, size_px, opacity, _find_tissue(tile))
    colours.putalpha(alpha)
    return colours


def _find_tissue(picture: Image.Image) -> Image.Image:
    """Mode L, 255 for tissue and 0 for glass."""
    return Image.fromarray(np.uint8(255) * find_tissue(np.asarray(picture)))


def _colour_grid(
    grid: list[list[float]], size_px: int, opacity: float, tissue: Image.Image
) -> tuple[Image.Image, Image.Image]:
    """Colours and opacity of a map of `size_px` x `size_px`; see `colour_evidence`."""
    size = (size_px, size_px)
    # In uint8, because bicubic interpolation overshoots and uint8 clips it, and because a float
    # picture of 2048 px would need 50 MB more.
    coarse = Image.fromarray(np.rint(255 * np.asarray(grid)).astype(np.uint8))
    evidence = coarse.resize(size, Image.Resampling.BICUBIC)
    return colour_evidence(evidence, opacity, tissue.resize(size, Image.Resampling.BILINEAR))


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Put two pictures of one size side by side, with a white gap between them."""
    gap = max(4, left.width // 64)
    both = Image.new("RGB", (2 * left.width + gap, left.height), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width + gap, 0))
    return both


def _mean_colour(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """The mean colour under a mask as a picture of one pixel; of all pixels if the mask is 0."""
    mean = ImageStat.Stat(picture, mask if mask.getbbox() else None).mean
    return Image.new("RGB", (1, 1), (round(mean[0]), round(mean[1]), round(mean[2])))


def _return_freed_memory(size_px: int) -> None:
    """Return freed memory to the operating system after a large picture.

    Once glibc has freed a block of up to 32 MB, it keeps later ones: after a few pictures of
    2048 px, 360 MB stayed with the process. Lowering the threshold for all blocks instead would
    double TensorFlow's time.
    """
    if size_px >= _LARGE_PX:
        with suppress(OSError, AttributeError, TypeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _encode_png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG", **_COMPRESSION)
    return stream.getvalue()
