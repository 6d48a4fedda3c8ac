"""What is known of a slide before any tile is classified."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.inference.results import Answer


class LevelFacts(Answer):
    """One level of the pyramid; level 0 is the scan itself."""

    width_px: int
    height_px: int
    downsample: float = Field(description="Level-0 pixels per pixel of this level.")


class SlideFacts(Answer):
    """What the file says about the slide. Names, comments and barcodes in it are not read."""

    format: str = Field(
        description="Vendor or container, such as `aperio`, `generic-tiff`, `dicom`."
    )
    n_bytes: int = Field(description="Size of the file, or of all files of a DICOM series.")
    width_px: int = Field(description="Width of level 0.")
    height_px: int = Field(description="Height of level 0.")
    mpp: float = Field(description="Micrometres per pixel of level 0; the mean of both axes.")
    mpp_source: Literal["file", "caller"] = Field(
        description="Whether the file or the caller states the resolution."
    )
    objective_power: float | None = Field(
        default=None, description="As the file states it; `mpp` decides the size of tiles."
    )
    levels: list[LevelFacts] = Field(description="Largest first.")
    reads: Literal["jpeg", "frames", "openslide"] = Field(
        description="Whether the slide's own JPEG tiles are decoded at a reduced scale, its DICOM "
        "frames in another encoding are, or OpenSlide reads the pixels."
    )
