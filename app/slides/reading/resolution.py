"""Micrometres per pixel of a slide: as its file states them, or as the caller does."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal

from app.core.slide_errors import SlideResolutionError
from app.core.slide_limits import SlideLimits

MAX_AXIS_RATIO: Final = 1.05
"""Maximum ratio of the resolutions of both axes. Pixels that are not square make tiles that look
unlike any training tile."""

_OME_PIXELS: Final = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_OME_SIZE: Final = re.compile(r'\bPhysicalSize([XY])(Unit)?\s*=\s*"([^"]*)"')
_UM_BY_OME_UNIT: Final = {
    **{"µm": 1.0, "μm": 1.0, "um": 1.0, "&#181;m": 1.0, "&#xB5;m": 1.0, "&#956;m": 1.0},
    **{"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6},
}
"""The micro sign and the Greek letter are both in use (OME schema 2016-06, UnitsLength)."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Micrometres per pixel of level 0, and who says so."""

    mpp: float
    source: Literal["file", "caller"]


def resolve(
    stated: tuple[float, float] | None, by_caller: float | None, limits: SlideLimits
) -> Resolution:
    """Decide between the file and the caller, who wins.

    Args:
        stated: by the file, across and down, in um; None if it says nothing.
        by_caller: in um; None if the caller says nothing.
        limits: what is plausible.

    Raises:
        SlideResolutionError: nobody states a plausible resolution.
    """
    plausible = f"slides have {limits.min_mpp:g} to {limits.max_mpp:g} um per pixel."
    if by_caller is not None:
        if not limits.min_mpp <= by_caller <= limits.max_mpp:  # also false for NaN
            raise SlideResolutionError(f"{by_caller:g} um per pixel were given, but {plausible}")
        return Resolution(by_caller, "caller")
    if stated is None:
        raise SlideResolutionError("the file does not state it.")
    across, down = stated
    if not all(limits.min_mpp <= axis <= limits.max_mpp for axis in stated):
        raise SlideResolutionError(f"the file states {across:g} um per pixel, but {plausible}")
    if max(stated) > MAX_AXIS_RATIO * min(stated):
        raise SlideResolutionError(
            f"the file states {across:g} um per pixel across and {down:g} down."
        )
    return Resolution((across + down) / 2, "file")


def number(text: str | None) -> float | None:
    """A positive number as a file states it; None if it is missing or none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < math.inf else None


def ome_resolution(description: str) -> tuple[float, float] | None:
    """What the first image of an OME-XML states; nothing else of it is looked at.

    Args:
        description: the tag ImageDescription of the first directory.

    Returns:
        Micrometres per pixel across and down; None if either is missing.
    """
    pixels = _OME_PIXELS.search(description)
    if pixels is None:
        return None
    stated = {axis + unit: value for axis, unit, value in _OME_SIZE.findall(pixels[0])}
    sizes = [
        (number(stated.get(axis)), _UM_BY_OME_UNIT.get(stated.get(f"{axis}Unit", "µm")))
        for axis in "XY"
    ]
    found = [size * um for size, um in sizes if size is not None and um is not None]
    return (found[0], found[1]) if len(found) == 2 else None
