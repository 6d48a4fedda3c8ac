"""Settings of whole slides: where they are kept, what is accepted, and who works on them."""

from __future__ import annotations

from pathlib import Path

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    field_validator,
)
from pydantic_settings import BaseSettings

from app.core.slide_limits import DEFAULT_SLIDE_LIMITS, SlideLimits
from app.settings.mounts import parse_mounts

_GIBIBYTE = 1024**3


class SlideSettings(BaseSettings):
    """Slides lie in `OSTEO_STATE_DIR/slides`; jobs wait in a SQLite file or in PostgreSQL."""

    slide_mounts: str | None = Field(
        default=None,
        description="Read-only folders from which callers may name slides, such as "
        "`archive=/mnt/archive,research=/mnt/research`. None if not set.",
    )
    dicomweb_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="DICOMweb server from which callers may name a series of slides; none if not "
        "set.",
    )
    max_slide_bytes: PositiveInt = Field(
        default=20 * _GIBIBYTE, description="Maximum size of a slide, in bytes."
    )
    slides_quota_bytes: PositiveInt = Field(
        default=100 * _GIBIBYTE,
        description="Bytes that slides and their results may use on disk; asked before an upload "
        "or a job is accepted.",
    )
    slide_expiry_h: PositiveFloat = Field(
        default=168.0,
        description="Hours after its last use at which a slide and its results are deleted.",
    )
    upload_expiry_h: PositiveFloat = Field(
        default=24.0,
        description="Hours without data after which an unfinished upload of a slide is deleted.",
    )
    max_slide_pixels: PositiveInt = Field(
        default=DEFAULT_SLIDE_LIMITS.max_pixels,
        description="Maximum width times height of a slide's level 0.",
    )
    max_slide_tiles: PositiveInt = Field(
        default=DEFAULT_SLIDE_LIMITS.max_tiles,
        description="Maximum number of tiles in the grid of a slide.",
    )
    slide_workers: NonNegativeInt = Field(
        default=1,
        description="Slides that this service works on at once, each in a process of its own; 0 "
        "leaves them to `osteo worker` elsewhere.",
    )
    slide_threads: PositiveInt | None = Field(
        default=None,
        description="Threads that read and classify tiles of one slide; the number of usable cores "
        "if not set.",
    )
    slide_memory_bytes: PositiveInt = Field(
        default=_GIBIBYTE,
        description="Maximum memory of the process that works on a slide, in bytes.",
    )
    slide_timeout_s: PositiveFloat = Field(
        default=3600.0, description="Maximum time of one attempt at a slide, in seconds."
    )
    slide_lease_s: PositiveFloat = Field(
        default=30.0,
        description="Seconds after which another worker takes the slide of a worker that died.",
    )
    slide_min_tumor_mm2: PositiveFloat = Field(
        default=20.0,
        description="Area of tumour below which no necrosis ratio is given, in square millimetres.",
    )
    jobs_url: SecretStr | None = Field(
        default=None,
        description="URL of a PostgreSQL database in which jobs wait, such as "
        "`postgresql://osteo@db/osteo`, so that many machines share them; the SQLite file "
        "`jobs.sqlite3` in `OSTEO_STATE_DIR` if not set.",
    )

    @field_validator("slide_mounts")
    @classmethod
    def _require_mounts(cls, text: str | None) -> str | None:
        parse_mounts(text or "")
        return text

    @property
    def mounts(self) -> dict[str, Path]:
        """The folders in `slide_mounts`, by name."""
        return parse_mounts(self.slide_mounts or "")

    @property
    def slide_limits(self) -> SlideLimits:
        """The limits that are checked before a pixel of a slide is decoded."""
        return SlideLimits(max_pixels=self.max_slide_pixels, max_tiles=self.max_slide_tiles)
