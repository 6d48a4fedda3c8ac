"""Where the evidence lies: the bundle's Grad-CAM maps as numbers and as pictures."""

from __future__ import annotations

import ctypes
import io
import math
from contextlib import suppress
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from app.api.schemas import Explanation

PREDICTED: Final = "predicted"
"""Asks for the map of whatever label is predicted."""
Picture = Literal["overlay", "heat"]

# Seven colours of matplotlib's `magma`, whose lightness rises evenly, so that the map also reads in
# grey and to the colour-blind (Smith & van der Walt 2015, CC0).
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
# One table of 256 values in 0 to 255 for each of red, green and blue.
_RAMPS: Final = [
    np.rint(255 * np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, len(_COLOURS)), channel))
    .astype(int)
    .tolist()
    for channel in _COLOURS.T
]
_LINES: Final = 36
"""Lines of text beside a picture, which sets the size of its letters."""
_MIN_FONT_PX: Final = 10
_TICKS: Final = (5, 3, 2)
"""Values named at the colour bar: as many as there is room for."""
_COMPRESSION: Final = 1
_LARGE_PX: Final = 1024
"""Pictures of this size leave tens of megabytes behind."""


def explain_map(label: str, cam: NDArray[np.float32], obstacle: str | None) -> Explanation:
    """Turn one map into evidence in [0, 1].

    Args:
        label: whose map it is.
        cam: float32 `[h, w]`, before ReLU: what each place adds to the label's logit.
        obstacle: why nothing can be said of this tile; None where something can.
    """
    highest = float(cam.max())
    if obstacle is None and not (np.isfinite(cam).all() and highest > 0.0):
        obstacle = f"nothing in the tile speaks for {label}"
    if obstacle is not None:
        return Explanation(status="unavailable", label=label, grid=None, reason=obstacle)
    # In double precision, else 0.1234 is answered as 0.12340000271797180.
    grid = np.maximum(cam, 0.0, dtype=np.float64) / highest
    return Explanation(
        status="available",
        label=label,
        grid=np.round(grid, 4).tolist(),
        max_logit=round(highest, 4),
    )


def draw_explanation(
    tile: NDArray[np.uint8], grid: list[list[float]], picture: Picture, opacity: float, title: str
) -> bytes:
    """Draw evidence over a tile.

    Args:
        tile: uint8 `[size, size, 3]`, the model's view of the tile at the size to draw.
        grid: evidence in [0, 1], `[h][w]`.
        picture: `overlay`: tile, heat and a colour bar beside; `heat`: the heat alone on a
            transparent ground, to lay over the tile elsewhere.
        opacity: of the heat where it is highest, in [0, 1].
        title: written over the colour bar.

    Returns:
        A PNG file: RGB, `size` high and a colour bar wider; or RGBA, `size` x `size`.
    """
    size_px = tile.shape[0]
    # In bytes: bicubic overshoots between the grid's points, which 0 and 255 then cut off, and a
    # picture of 2048 px in floats would take 50 MB more for a while.
    coarse = Image.fromarray(np.rint(255 * np.asarray(grid)).astype(np.uint8))
    heat = coarse.resize((size_px, size_px), Image.Resampling.BICUBIC)
    colours = Image.merge("RGB", [heat.point(ramp) for ramp in _RAMPS])
    # Where there is no evidence the tile stays as it is: opacity follows the evidence.
    alpha = heat.point([round(opacity * level) for level in range(256)])
    if picture == "heat":
        colours.putalpha(alpha)
    else:
        colours = _with_colour_bar(Image.composite(colours, Image.fromarray(tile), alpha), title)
    png = _as_png(colours)
    if size_px >= _LARGE_PX:
        del coarse, heat, colours, alpha
        _give_memory_back()
    return png


def _give_memory_back() -> None:
    """Hand what this thread has freed to the system.

    glibc keeps blocks of up to 32 MB once it has seen one freed: after some pictures of 2048 px 360
    MB stayed with the process. A lower threshold for all blocks would double TensorFlow's time.
    """
    with suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _as_png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    # Level 6, which is usual, takes three times as long for a sixth fewer bytes.
    image.save(stream, format="PNG", compress_level=_COMPRESSION)
    return stream.getvalue()


def _with_colour_bar(picture: Image.Image, title: str) -> Image.Image:
    """The picture on white, with the scale of its colours to the right."""
    size_px = picture.height
    font_px = max(size_px // _LINES, _MIN_FONT_PX)
    font, margin = ImageFont.load_default(font_px), font_px // 2
    bar_px, left = 2 * font_px, size_px + margin
    width_px = max(font.getlength(title), bar_px + margin + font.getlength("0.00"))
    canvas = Image.new("RGB", (left + math.ceil(width_px) + margin, size_px), "white")
    canvas.paste(picture, (0, 0))
    pen = ImageDraw.Draw(canvas)
    pen.text((left, margin), title, fill="black", font=font)
    # Half a line above and below, for the words at the ends.
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
