"""What is kept of a slide besides its pixels."""

from __future__ import annotations

import hashlib
import math
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from app.core.slide_store_errors import SlideExistsError
from app.inference.results import Answer
from app.slides.facts import SlideFacts
from app.slides.identity import stamp_of

_PLACE: Final = ("source", "mount", "path", "stamp")


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
    stamp: str | None = Field(default=None, description="State of the files beneath a mount.")


def known_again(former: SlideRecord, found: SlideRecord, *, may_move: bool) -> SlideRecord:
    """What is kept of a slide that is added once more: the record of the first time.

    Jobs without a resolution use that of the record, so that another caller must not change it.

    Args:
        former: what is kept.
        found: what the slide was found to be this time.
        may_move: whether the slide may have got another place, such as in a mount.

    Raises:
        SlideExistsError: the caller states another resolution than the one that is kept.
    """
    if found.mpp is not None and not math.isclose(found.mpp, former.facts.mpp):
        raise SlideExistsError(former.id, former.facts.mpp)
    if not may_move:
        return former
    return former.model_copy(update={name: getattr(found, name) for name in _PLACE})


def short_stamp(path: Path) -> str:
    """A text that changes when a slide's files do; cheap, unlike the SHA-256.

    Raises:
        OSError: a file is gone.
    """
    return hashlib.sha256(repr(stamp_of(path)).encode()).hexdigest()[:16]
