"""The colours of labels on the maps of a slide, told apart with every kind of colour vision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from app.core.manifest import Label

Rgb = tuple[int, int, int]

# At any two opacities in [MIN_OPACITY, 1] over white, these three lie at least 15 apart in CIELAB
# from each other and from the grey of excluded tiles, also for people with protanopia,
# deuteranopia or tritanopia. Vermilion and yellow are those of Okabe & Ito (2008).
_BY_ID: Final[dict[str, Rgb]] = {
    "viable_tumor": (213, 94, 0),
    "non_viable_tumor": (30, 60, 150),
    "non_tumor": (240, 228, 66),
}
_OTHERS: Final[tuple[Rgb, ...]] = (
    (213, 94, 0),
    (30, 60, 150),
    (240, 228, 66),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
)
"""For labels of other models, in the order of the manifest; they recur after the seventh."""

EXCLUDED: Final[Rgb] = (128, 128, 128)
"""Hatching of tiles that count towards nothing."""
UNREADABLE: Final[Rgb] = (40, 40, 40)
"""Crosses on tiles whose pixels are damaged."""
MIN_OPACITY: Final = 0.45
"""Opacity of a label that is no more probable than the others."""


def label_colours(labels: Sequence[Label]) -> list[Rgb]:
    """The colour of each label: the manifest's, else that of its meaning, else a free one."""
    fixed = [_parsed(label.colour) if label.colour else _BY_ID.get(label.id) for label in labels]
    free = [colour for colour in _OTHERS if colour not in fixed] or list(_OTHERS)
    n_free = 0
    colours = []
    for colour in fixed:
        if colour is None:
            colours.append(free[n_free % len(free)])
            n_free += 1
        else:
            colours.append(colour)
    return colours


def opacity_of(probability: float, n_labels: int) -> float:
    """Opacity of a tile: `MIN_OPACITY` at a probability of 1 / `n_labels`, rising to 1 at 1."""
    certainty = max(0.0, (probability - 1 / n_labels) / (1 - 1 / n_labels))
    return MIN_OPACITY + (1 - MIN_OPACITY) * min(1.0, certainty)


def hexadecimal(colour: Rgb) -> str:
    """Such as `#d55e00`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _parsed(colour: str) -> Rgb:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
