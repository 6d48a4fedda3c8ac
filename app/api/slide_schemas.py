"""What the routes of whole slides take and answer; OpenAPI is generated from these models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.slide_limits import DEFAULT_SLIDE_LIMITS
from app.inference.results import RESEARCH_USE, Answer, Probability
from app.jobs.records import Job
from app.slides.facts import SlideFacts
from app.slides.storage.slide_record import SlideRecord
from app.slides.storage.upload_writer import Upload

Mpp = Annotated[
    float,
    Field(
        ge=DEFAULT_SLIDE_LIMITS.min_mpp,
        le=DEFAULT_SLIDE_LIMITS.max_mpp,
        allow_inf_nan=False,
        description="Micrometres per pixel of level 0, if the file does not state it or is wrong.",
    ),
]
_Text = Annotated[str, Field(min_length=1, max_length=1024)]
_Uid = Annotated[str, Field(pattern=r"^[0-9][0-9.]{0,63}$")]
JobId = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_TILE_S: Final = 0.012
"""Measured processor time of a tile that is read at 1 um/px and classified with fp32."""
_START_S: Final = 1.0


class _Request(BaseModel):
    # Strict: else `true` would be the number 1.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NewSlide(_Request):
    """Where a slide is: an upload, a file beneath a mount, or a series on the DICOMweb server."""

    upload: _Text | None = Field(default=None, description="Id of a complete upload.")
    mount: _Text | None = Field(default=None, description="Name of a mount.")
    path: _Text | None = Field(default=None, description="Relative path beneath the mount.")
    study: _Uid | None = Field(default=None, description="Study Instance UID.")
    series: _Uid | None = Field(default=None, description="Series Instance UID.")
    mpp: Mpp | None = None

    @model_validator(mode="after")
    def _require_one_place(self) -> Self:
        given = tuple(
            name
            for name in ("upload", "mount", "path", "study", "series")
            if getattr(self, name) is not None
        )
        if given not in {("upload",), ("mount", "path"), ("study", "series")}:
            raise ValueError("give either upload, or mount and path, or study and series")
        return self


class NewJob(_Request):
    """How a slide is to be classified."""

    mpp: Mpp | None = None
    min_tissue_share: Probability = Field(
        default=0.1, description="Tiles with less tissue are not classified."
    )


class NewSpecimen(_Request):
    """The slides of a specimen, by their jobs."""

    jobs: list[JobId] = Field(min_length=1, max_length=500, description="Jobs that succeeded.")


class UploadAnswer(Answer):
    """An upload of a slide."""

    id: str
    offset: int = Field(description="Bytes that have arrived; the next ones begin here.")
    length: int = Field(description="Bytes that are to arrive.")
    expires: datetime = Field(description="When it is deleted, if no more bytes arrive.")

    @classmethod
    def of(cls, upload: Upload, expires: datetime) -> Self:
        """The answer about an upload."""
        return cls(id=upload.id, offset=upload.offset, length=upload.length, expires=expires)


class SlideAnswer(Answer):
    """A slide that can be classified."""

    notice: str = RESEARCH_USE
    id: str = Field(description="SHA-256 of the slide, so that each slide is kept once.")
    sha256: str = Field(description="SHA-256 of the file, or of a series' sorted SHA-256s.")
    source: str = Field(description="`upload`, `mount` or `dicomweb`.")
    slide: SlideFacts
    columns: int = Field(description="Columns of the grid of the model's tiles.")
    rows: int
    estimated_tiles: int = Field(
        description="Tiles with tissue; those of the whole grid if the slide has no small level in "
        "which tissue could be looked for at once."
    )
    estimated_s: float = Field(description="Estimated seconds of a job on this machine.")
    created: datetime

    @classmethod
    def of(cls, record: SlideRecord, n_threads: int) -> Self:
        """The answer about a slide that so many threads would work on."""
        n_tiles = record.columns * record.rows if record.n_tissue is None else record.n_tissue
        return cls(
            id=record.id,
            sha256=record.id,
            source=record.source,
            slide=record.facts,
            columns=record.columns,
            rows=record.rows,
            estimated_tiles=n_tiles,
            estimated_s=round(_START_S + n_tiles * _TILE_S / max(1, n_threads), 1),
            created=record.created,
        )


class SlidesAnswer(Answer):
    """All slides, the newest first."""

    slides: list[SlideAnswer]


class JobAnswer(Job):
    """A job, and the results that it has."""

    notice: str = RESEARCH_USE
    results: dict[str, str] = Field(description="Path of each result by its name.")


class JobsAnswer(Answer):
    """The newest jobs, the newest first."""

    jobs: list[JobAnswer]
