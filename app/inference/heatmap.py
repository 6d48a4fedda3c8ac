"""Evidence maps as pictures: a heat map over the tile with a colour bar, or on its own."""

from __future__ import annotations

import ctypes
import io
import math
from contextlib import suppress
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = Literal["overlay", "heat"]

# Seven colours of matplotlib's `magma`, whose lightness rises evenly, so that the map is readable
# in grey and with colour blindness (Smith & van der Walt 2015, CC0).
_COLOURS: Final = np.array(
    [
        (0.001, 0.000, 0.014),
        (0.171, 0.067, 0.371),
        (0.445, 0.122, 0.507),
        (0.716, 0.215, 0.475),
        (0.945, 0.379, 0.365),
        (0.997, 0.682, 0.448),
        (0.987, 0.991, 0.750),
    ]
)
# A lookup table of 256 values in [0, 255] for each of red, green and blue.
_RAMPS: Final = [
    np.rint(255 * np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, len(_COLOURS)), channel))
    .astype(int)
    .tolist()
    for channel in _COLOURS.T
]
_LINES: Final = 36
"""Lines of text that fit beside a picture; this sets the font size."""
_MIN_FONT_PX: Final = 10
_TICKS: Final = (5, 3, 2)
"""Numbers of ticks on the colour bar, tried in this order until they fit."""
# Level 6, the default, takes three times as long and saves a sixth of the bytes.
_COMPRESSION: Final = 1
_LARGE_PX: Final = 1024
"""Pictures of this size and larger leave tens of megabytes of freed memory in the process."""


def draw_explanation(
    tile: NDArray[np.uint8], grid: list[list[float]], picture: Picture, opacity: float, title: str
) -> bytes:
    """Draw evidence over a tile.

    Args:
        tile: uint8 RGB `[size, size, 3]`, the model's view of the tile at the size to draw.
        grid: evidence in [0, 1], `[h][w]`.
        picture: `overlay`: heat map over the tile, with a colour bar beside it; `heat`: heat map
            alone on a transparent background, to be laid over the tile by a viewer.
        opacity: opacity of the heat map at its maximum, in [0, 1].
        title: text above the colour bar.

    Returns:
        A PNG file. `overlay`: RGB, `size` high and wider than `size` by the colour bar; `heat`:
        RGBA, `size` x `size`.
    """
    size_px = tile.shape[0]
    # In uint8, because bicubic interpolation overshoots and uint8 clips it, and because a float
    # picture of 2048 px would need 50 MB more.
    coarse = Image.fromarray(np.rint(255 * np.asarray(grid)).astype(np.uint8))
    heat = coarse.resize((size_px, size_px), Image.Resampling.BICUBIC)
    colours = Image.merge("RGB", [heat.point(ramp) for ramp in _RAMPS])
    # Opacity follows the evidence, so the tile stays visible where there is none.
    alpha = heat.point([round(opacity * level) for level in range(256)])
    if picture == "heat":
        colours.putalpha(alpha)
    else:
        colours = _with_colour_bar(Image.composite(colours, Image.fromarray(tile), alpha), title)
    png = _encode_png(colours)
    if size_px >= _LARGE_PX:
        del coarse, heat, colours, alpha
        _return_freed_memory()
    return png


def _return_freed_memory() -> None:
    """Return freed memory to the operating system.

    Once glibc has freed a block of up to 32 MB, it keeps later ones: after a few pictures of
    2048 px, 360 MB stayed with the process. Lowering the threshold for all blocks instead would
    double TensorFlow's time.
    """
    with suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _encode_png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=_COMPRESSION)
    return stream.getvalue()


def _with_colour_bar(picture: Image.Image, title: str) -> Image.Image:
    """Add a white margin on the right, with the colour bar."""
    size_px = picture.height
    font_px = max(size_px // _LINES, _MIN_FONT_PX)
    font, margin = ImageFont.load_default(font_px), font_px // 2
    bar_px, left = 2 * font_px, size_px + margin
    width_px = max(font.getlength(title), bar_px + margin + font.getlength("0.00"))
    canvas = Image.new("RGB", (left + math.ceil(width_px) + margin, size_px), "white")
    canvas.paste(picture, (0, 0))
    pen = ImageDraw.Draw(canvas)
    pen.text((left, margin), title, fill="black", font=font)
    # Half a line above and below the bar for the labels at its ends.
    top, bottom = margin + 2 * font_px, size_px - font_px
    scale = Image.linear_gradient("L").transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    bar = Image.merge("RGB", [scale.point(ramp) for ramp in _RAMPS])
    canvas.paste(bar.resize((bar_px, bottom - top)), (left, top))
    n_ticks = next((n for n in _TICKS if (bottom - top) / (n - 1) >= 1.2 * font_px), _TICKS[-1])
    for tick in range(n_ticks):
        value = 1.0 - tick / (n_ticks - 1)
        y = top + (bottom - top - 1) * tick / (n_ticks - 1)
        pen.text((left + bar_px + margin, y), f"{value:.2f}", "black", font, anchor="lm")
    return canvas
