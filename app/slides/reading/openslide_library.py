"""OpenSlide: loaded when the first slide is opened, and refused if it is too old."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from app.core.slide_errors import ExtraMissingError

MIN_VERSION: Final = (4, 0, 1)
"""Older ones have CVE-2026-48977 and CVE-2026-54604."""


def load_openslide() -> ModuleType:
    """The module `openslide`.

    Raises:
        ExtraMissingError: it, or the library that it loads, is missing or too old.
    """
    try:
        import openslide
    except (ImportError, OSError) as error:  # OSError: without openslide-bin and libopenslide
        raise ExtraMissingError("Reading whole slides", "slides") from error
    version = openslide.__library_version__
    if _numbers(version) < MIN_VERSION:
        least = ".".join(map(str, MIN_VERSION))
        raise ExtraMissingError(
            f"OpenSlide {version} has known vulnerabilities. Reading slides needs OpenSlide "
            f"{least}, which",
            "slides",
        )
    return openslide


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, such as (4, 0, 1) of `4.0.1-23-gabc`."""
    parts = version.partition("-")[0].split(".")
    return tuple(int(part) for part in parts if part.isdigit())
