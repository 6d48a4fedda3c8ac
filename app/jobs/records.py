"""A job as callers see it, and what it is asked to do."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import Field

from app import __version__
from app.inference.results import Answer, Probability
from app.settings import Settings

MAX_ATTEMPTS: Final = 3
"""Starts of a job, the first included; after that many deaths of its process it has failed."""


class JobState(StrEnum):
    """Where a job is. The last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_STATES: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class JobParameters(Answer):
    """What decides the answer, besides the slide and the model."""

    mpp: float | None = Field(
        default=None, description="Micrometres per pixel, if the caller states it."
    )
    min_tissue_share: Probability = Field(
        default=0.1, description="Tiles with less tissue are not classified."
    )


class JobRequest(Answer):
    """What a worker needs to know."""

    slide_id: str = Field(description="Identifies the slide in the service's own folder.")
    slide_sha256: str
    model_name: str
    model_version: str
    bundle_sha256: str
    parameters: JobParameters = JobParameters()
    settings_sha256: str = Field(default="", description="See the function of that name.")

    @property
    def key(self) -> str:
        """SHA-256 of all that decides the answer: the same question has the same key."""
        parameters = self.parameters.model_dump_json()
        decided = (self.slide_sha256, self.bundle_sha256, self.settings_sha256, parameters)
        return hashlib.sha256(" ".join(decided).encode()).hexdigest()


def settings_sha256(settings: Settings) -> str:
    """SHA-256 of the settings and the program's version, on which the answer for a slide depends.

    With other settings the same question is another job, instead of an old answer.
    """
    decided = [
        __version__,
        settings.precision,
        settings.slide_min_tumor_mm2,
        settings.answer_settings,
    ]
    return hashlib.sha256(json.dumps(decided).encode()).hexdigest()


class JobProgress(Answer):
    """How far a running job is."""

    stage: str = Field(
        default="waiting",
        description="`waiting`, `opening`, `finding tissue`, `classifying`, `writing`.",
    )
    n_done: int = 0
    n_tiles: int | None = Field(
        default=None, description="Tissue tiles; null until they are known."
    )
    tiles_per_s: float | None = None
    remaining_s: float | None = None


class JobFailure(Answer):
    """Why a job failed."""

    code: str
    detail: str


class Job(Answer):
    """A job; `id` is its key."""

    id: str
    state: JobState
    slide_id: str
    slide_sha256: str
    bundle_sha256: str
    model_name: str
    model_version: str
    parameters: JobParameters
    attempts: int = Field(default=0, description="Starts so far.")
    progress: JobProgress = JobProgress()
    failure: JobFailure | None = None
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
