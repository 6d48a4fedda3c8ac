"""The scan and the class map side by side, with a scale bar and the places of tiles, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.markup import Html, fill, joined
from app.slides.outputs.overview_map import draw_class_map
from app.slides.outputs.pictures import data_uri, reduced
from app.slides.outputs.subject import OutputSubject
from app.slides.tile_rows import TileRow

_Point = tuple[float, float]

_MAX_PX: Final = 900
"""Longer side of each picture."""
_SHOWN_PX: Final = 540, 640
"""Largest width and height at which a page shows a picture, in CSS pixels; see `report.css`."""
_MARK_PX: Final = 11
"""Radius of a mark, in the same."""
_DIRECTIONS: Final = 12
_NICE_MM: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
_FIGURE: Final = """<figure><svg viewBox="0 0 $width $height" role="img" aria-label="$alt">
<image href="$source" width="$width" height="$height"/>
$over</svg><figcaption>$caption</figcaption></figure>
"""
_FRAME: Final = (
    '<g class="frame"><line x1="$x1" y1="$y1" x2="$x2" y2="$y2"/>'
    '<rect x="$left" y="$top" width="$side" height="$side"/></g>\n'
)
_NUMBER: Final = (
    '<g class="place"><circle cx="$x" cy="$y" r="$radius"/>'
    '<text x="$x" y="$y" font-size="$font" text-anchor="middle" dominant-baseline="central">'
    "$number</text></g>\n"
)
_SCALE_BAR: Final = (
    '<g class="scale"><rect x="$x" y="$y" width="$length" height="$thick"/>'
    '<text x="$x" y="$text_y" font-size="$font">$text</text></g>\n'
)


def map_figures(
    overview: NDArray[np.uint8], subject: OutputSubject, marked: Sequence[TileRow]
) -> Html:
    """Draw the scan, and beside it the classes with the numbers of the marked tiles."""
    picture = reduced(overview, _MAX_PX)
    scan = _figure(picture, "The scanned slide.", "Scan", _scale_bar(picture.size, subject))
    classes = _figure(
        draw_class_map(picture, subject),
        "The most probable label of each tile over the slide.",
        "Predicted labels. Stronger colour: more probable. Numbers: the tiles below",
        joined(_marks(marked, picture.size, subject)),
    )
    return joined([scan, classes])


def _figure(picture: Image.Image, alt: str, caption: str, over: Html) -> Html:
    return fill(
        _FIGURE,
        width=picture.width,
        height=picture.height,
        alt=alt,
        source=data_uri(picture),
        over=over,
        caption=caption,
    )


def _marks(
    marked: Sequence[TileRow], size: tuple[int, int], subject: OutputSubject
) -> Iterator[Html]:
    """Frames around tiles, each with its number beside it where no other number is."""
    side = subject.grid.side_level0 * size[0] / subject.summary.slide.width_px
    radius = _MARK_PX * max(px / most for px, most in zip(size, _SHOWN_PX, strict=True))
    centres = [((row.column + 0.5) * side, (row.row + 0.5) * side) for row in marked]
    places: list[_Point] = []
    for centre in centres:
        places.append(_free_place(centre, side, radius, size, [*places, *centres]))
    # All frames first, so that none lies over a number.
    for (x1, y1), (x2, y2) in zip(centres, places, strict=True):
        yield fill(
            _FRAME,
            left=round(x1 - side / 2, 1),
            top=round(y1 - side / 2, 1),
            side=round(side, 1),
            x1=round(x1, 1),
            y1=round(y1, 1),
            x2=round(x2, 1),
            y2=round(y2, 1),
        )
    for number, (x, y) in enumerate(places, start=1):
        yield fill(
            _NUMBER,
            x=round(x, 1),
            y=round(y, 1),
            radius=round(radius, 1),
            font=round(radius * 1.2, 1),
            number=number,
        )


def _free_place(
    centre: _Point, side: float, radius: float, size: tuple[int, int], taken: Sequence[_Point]
) -> _Point:
    """A place near a tile for a number: inside of the picture and apart from the other numbers."""
    nearest = side * 0.7 + radius
    for distance in (nearest, nearest + 1.5 * radius, nearest + 3 * radius):
        for step in range(_DIRECTIONS):
            angle = 2 * math.pi * step / _DIRECTIONS - math.pi / 4
            x, y = (
                min(max(at + distance * turn, radius), length - radius)
                for at, turn, length in zip(
                    centre, (math.cos(angle), math.sin(angle)), size, strict=True
                )
            )
            if all(math.dist((x, y), other) > 2.2 * radius for other in taken):
                return x, y
    return centre


def _scale_bar(size: tuple[int, int], subject: OutputSubject) -> Html:
    slide = subject.summary.slide
    px_per_mm = size[0] / (slide.width_px * slide.mpp / 1000)
    fitting = [length for length in _NICE_MM if length * px_per_mm <= 0.3 * size[0]]
    length = fitting[-1] if fitting else _NICE_MM[0]
    unit = max(size) / 100
    return fill(
        _SCALE_BAR,
        x=round(2 * unit, 1),
        y=round(size[1] - 2.5 * unit, 1),
        length=round(length * px_per_mm, 1),
        thick=round(0.8 * unit, 1),
        text_y=round(size[1] - 3.5 * unit, 1),
        font=round(2.6 * unit, 1),
        text=f"{length:g} mm",
    )
