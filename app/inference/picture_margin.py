"""The white margin of a picture: a colour bar on the right, a caption beneath."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from app.core.manifest import Label
from app.inference.results import TileResult

_LINES: Final = 36
"""Lines of text that fit beside a picture; this sets the font size."""
_MIN_FONT_PX: Final = 12
_LINE_SPACING: Final = 1.3
"""Distance of two lines of text, in font sizes."""
_BAR_TITLE: Final = ("relative", "evidence")
_BAR_ENDS: Final = ("high", "low")


def caption_of(result: TileResult, explained: str, labels: Sequence[Label]) -> str:
    """Lines that say what a picture shows, for readers who have only the picture.

    Args:
        result: the answer that the picture belongs to.
        explained: id of the label whose evidence is drawn.
        labels: of the model.
    """
    names = {label.id: _readable_name(label) for label in labels}
    line = f"{names[explained]}: probability {result.probabilities[explained]:.2f}"
    if explained != result.prediction:
        line += f" (predicted: {names[result.prediction]})"
    model = f"{result.model.name}, version {result.model.version}"
    return "\n".join([line, model, "research use only"])


def add_margin(
    picture: Image.Image, draw_bar: Callable[[tuple[int, int]], Image.Image], caption: str
) -> Image.Image:
    """Add the colour bar and the caption.

    Args:
        picture: mode RGB.
        draw_bar: draws the colour bar of a (width, height) in pixels.
        caption: lines of text; a line that is too wide is wrapped at spaces.

    Returns:
        A larger picture, mode RGB, with `picture` in its upper left corner. It is at least as wide
        as the longest word.
    """
    font_px = max(picture.height // _LINES, _MIN_FONT_PX)
    font, gap, line_px = (
        ImageFont.load_default(font_px),
        font_px // 2,
        round(_LINE_SPACING * font_px),
    )
    bar_px, bar_left = 2 * font_px, picture.width + gap
    title_px = max(font.getlength(word) for word in _BAR_TITLE)
    ends_px = bar_px + gap + max(font.getlength(word) for word in _BAR_ENDS)
    words_px = max(font.getlength(word) for word in caption.split())
    width = math.ceil(max(bar_left + max(title_px, ends_px), gap + words_px)) + gap
    lines = [line for text in caption.split("\n") for line in _wrapped(text, font, width - 2 * gap)]
    canvas = Image.new("RGB", (width, picture.height + gap + len(lines) * line_px + gap), "white")
    canvas.paste(picture, (0, 0))
    pen = ImageDraw.Draw(canvas)
    for row, word in enumerate(_BAR_TITLE):
        pen.text((bar_left, row * line_px), word, "black", font)
    top, bottom = len(_BAR_TITLE) * line_px, picture.height - 1
    canvas.paste(draw_bar((bar_px, bottom - top + 1)), (bar_left, top))
    # On white paper, the pale end of the bar needs an outline.
    pen.rectangle((bar_left - 1, top - 1, bar_left + bar_px, bottom + 1), outline="grey")
    for y, anchor, word in zip((top, bottom), ("lt", "ls"), _BAR_ENDS, strict=True):
        pen.text((bar_left + bar_px + gap, y), word, "black", font, anchor=anchor)
    for row, line in enumerate(lines):
        pen.text((gap, picture.height + gap + row * line_px), line, "black", font)
    return canvas


def _readable_name(label: Label) -> str:
    """The name, or the id if Pillow's font, which has only ASCII, cannot show the name."""
    is_readable = label.name.isascii() and label.name.isprintable() and label.name.strip()
    return label.name if is_readable else label.id


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: float
) -> Iterator[str]:
    """Lines no wider than `width_px`, unless one word is."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}".lstrip()
        if line and font.getlength(longer) > width_px:
            yield line
            longer = word
        line = longer
    yield line
