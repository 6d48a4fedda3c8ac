"""The legend of a picture of the whole slide: a colour bar for each label, and a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from app.inference.colour_scale import colour_evidence
from app.slides.outputs.colours import Rgb

_MIN_FONT_PX: Final = 14
_LINES: Final = 64
"""Lines of text as wide as the picture is high or wide; this sets the font size."""
_BACKGROUND: Final = (205, 205, 205)
"""Pale grey tissue below the colour bars."""
_LOW, _HIGH = "low ", " high   "


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A label; the font has only ASCII."""

    name: str
    colour: Rgb


def add_legend(
    picture: Image.Image, entries: Sequence[LegendEntry], opacity: float, caption: Sequence[str]
) -> Image.Image:
    """Add a white margin below a picture.

    Args:
        picture: mode RGB.
        entries: of the labels, in the order of the legend.
        opacity: of the layer at the top of the scale, as in `colour_evidence`.
        caption: sentences, each of which begins a line; long ones are wrapped.

    Returns:
        Mode RGB; `picture` is in its upper left corner.
    """
    font_px = max(_MIN_FONT_PX, max(picture.size) // _LINES)
    font = ImageFont.load_default(font_px)
    gap, line_px = font_px, round(1.5 * font_px)
    bar = 6 * font_px, font_px
    widest = max(font.getlength(f"{_LOW}{_HIGH}{entry.name}") for entry in entries)
    width = max(picture.width, round(widest) + bar[0] + 2 * gap)
    lines = [line for text in caption for line in _wrapped(text, font, width - 2 * gap)]
    height = picture.height + 2 * gap + line_px * (len(entries) + len(lines))
    canvas = Image.new("RGB", (width, height), "white")
    canvas.paste(picture, (0, 0))
    pen = ImageDraw.Draw(canvas)
    pen.line((0, picture.height, width, picture.height), "lightgrey")
    y = picture.height + gap
    for entry in entries:
        x = gap + font.getlength(_LOW)
        pen.text((gap, y), _LOW, "black", font)
        canvas.paste(_bar(bar, entry.colour, opacity), (round(x), y + round(0.15 * font_px)))
        pen.text((x + bar[0], y), f"{_HIGH}{entry.name}", "black", font)
        y += line_px
    for line in lines:
        pen.text((gap, y), line, "black", font)
        y += line_px
    return canvas


def _bar(size: tuple[int, int], colour: Rgb, opacity: float) -> Image.Image:
    """The scale as it looks on pale tissue; the highest evidence is on the right."""
    evidence = Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90).resize(size)
    _, alpha = colour_evidence(evidence, opacity)
    return Image.composite(
        Image.new("RGB", size, colour), Image.new("RGB", size, _BACKGROUND), alpha
    )


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: float
) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and font.getlength(longer) > width_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
