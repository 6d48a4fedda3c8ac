"""Where the evidence lies: the bundle's Grad-CAM maps as numbers and as pictures."""

from __future__ import annotations

import io
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from app.schemas import Explanation

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
_BAR_SHARE: Final = 0.16
"""Width of the colour bar with its words, as a share of the picture's side."""
_TICKS: Final = 5


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
    grid = np.maximum(cam, 0.0) / highest
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
    # Bicubic overshoots between the grid's points.
    coarse = Image.fromarray(np.asarray(grid, dtype=np.float32))
    heat = np.asarray(coarse.resize((size_px, size_px), Image.Resampling.BICUBIC))
    heat = np.clip(heat, 0.0, 1.0)
    # Where there is no evidence the tile stays as it is: opacity follows the evidence.
    alpha = opacity * heat
    colours = _colours_of(heat)
    stream = io.BytesIO()
    if picture == "heat":
        layer = np.dstack([colours, np.rint(255 * alpha).astype(np.uint8)])
        Image.fromarray(layer).save(stream, format="PNG")
        return stream.getvalue()
    weight = alpha[..., None]
    mixed = np.rint((1 - weight) * tile + weight * colours).astype(np.uint8)
    _with_colour_bar(Image.fromarray(mixed), title).save(stream, format="PNG")
    return stream.getvalue()


def _colours_of(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """uint8 `[..., 3]` of values in [0, 1]."""
    stops = np.linspace(0.0, 1.0, len(_COLOURS))
    channels = [np.interp(values, stops, _COLOURS[:, channel]) for channel in range(3)]
    colours: NDArray[np.uint8] = np.rint(255 * np.stack(channels, axis=-1)).astype(np.uint8)
    return colours


def _with_colour_bar(picture: Image.Image, title: str) -> Image.Image:
    """The picture on white, with the scale of its colours to the right."""
    size_px = picture.height
    bar_px = max(round(_BAR_SHARE * size_px), 72)
    margin, font_px = bar_px // 8, max(size_px // 36, 10)
    font = ImageFont.load_default(font_px)
    canvas = Image.new("RGB", (size_px + bar_px, size_px), "white")
    canvas.paste(picture, (0, 0))
    pen = ImageDraw.Draw(canvas)
    top, bottom = 3 * font_px, size_px - 2 * font_px
    ramp = _colours_of(np.linspace(1.0, 0.0, bottom - top, dtype=np.float32)[:, None])
    bar = Image.fromarray(ramp).resize((bar_px // 4, bottom - top))
    left = size_px + margin
    canvas.paste(bar, (left, top))
    pen.text((left, font_px // 2), title, fill="black", font=font)
    for tick in range(_TICKS):
        value = 1.0 - tick / (_TICKS - 1)
        y = top + (bottom - top - 1) * tick / (_TICKS - 1)
        pen.text((left + bar_px // 4 + 4, y), f"{value:.2f}", fill="black", font=font, anchor="lm")
    return canvas
