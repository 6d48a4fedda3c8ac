"""What is kept of a slide besides its pixels."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from app.inference.results import Answer
from app.slides.facts import SlideFacts
from app.slides.identity import stamp_of


class SlideRecord(Answer):
    """What the service keeps about a slide; `id` is its SHA-256, so that it is stored once."""

    id: str
    source: Literal["upload", "mount", "dicomweb"]
    facts: SlideFacts
    mpp: float | None = Field(default=None, description="Micrometres per pixel, by the caller.")
    columns: int = Field(description="Columns of the grid of the model's tiles.")
    rows: int = Field(description="Rows of the grid.")
    n_tissue: int | None = None
    created: datetime
    mount: str | None = None
    path: str | None = Field(default=None, description="Beneath the mount.")
    stamp: str | None = Field(default=None, description="Of the files beneath a mount.")


def short_stamp(path: Path) -> str:
    """A text that changes when a slide's files do; cheap, unlike the SHA-256.

    Raises:
        OSError: a file is gone.
    """
    return hashlib.sha256(repr(stamp_of(path)).encode()).hexdigest()[:16]
