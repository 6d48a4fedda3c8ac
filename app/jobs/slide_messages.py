"""What a worker and the process that it starts for a slide tell each other: JSON, a line each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

from app.jobs.records import Job, JobFailure
from app.settings import Settings


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class SlideOrder(_Message):
    """What the process is to do.

    Attributes:
        settings: the worker's, without its secrets.
        bundle_sha256: the model that must answer.
        path: the slide.
        out_dir: for the results and the checkpoint.
        sha256: of the slide.
        mpp, min_tissue_share, allow_companions: see `app.slides.run.SlideRun`.
    """

    settings: dict[str, Any]
    bundle_sha256: str
    path: Path
    out_dir: Path
    sha256: str
    mpp: float | None
    min_tissue_share: float
    allow_companions: bool

    def read_settings(self) -> Settings:
        """The settings of the worker, with the model of the job."""
        return Settings(**self.settings)


class Progressed(_Message):
    """The process got on; see `app.slides.run.Progress`."""

    kind: Literal["progressed"] = "progressed"
    stage: str
    n_done: int
    n_tiles: int | None


class Ended(_Message):
    """The last message.

    Attributes:
        failure: why there is no answer; None if there is one.
        may_retry: whether another attempt may succeed.
        is_stopped: the process was asked to stop, and left the slide unfinished.
        log: for the log of the worker, such as a traceback.
    """

    kind: Literal["ended"] = "ended"
    failure: JobFailure | None = None
    may_retry: bool = False
    is_stopped: bool = False
    log: str | None = None


SlideMessage = Annotated[Progressed | Ended, Field(discriminator="kind")]
SLIDE_MESSAGE: Final[TypeAdapter[Progressed | Ended]] = TypeAdapter(SlideMessage)


def order_of(job: Job, path: Path, out_dir: Path, settings: Settings) -> SlideOrder:
    """The order for a job.

    Args:
        job: a leased job.
        path: of the slide.
        out_dir: for its results.
        settings: of the worker.
    """
    # An uploaded file must not name others; in a mount, a slide may have several files.
    is_own = path.resolve().is_relative_to(settings.state_dir.resolve())
    return SlideOrder(
        settings=_without_secrets(settings)
        | {"model_name": job.model_name, "model_version": job.model_version},
        bundle_sha256=job.bundle_sha256,
        path=path,
        out_dir=out_dir,
        sha256=job.slide_sha256,
        mpp=job.parameters.mpp,
        min_tissue_share=job.parameters.min_tissue_share,
        allow_companions=not is_own,
    )


def _without_secrets(settings: Settings) -> dict[str, Any]:
    secret = {name for name, value in settings if isinstance(value, SecretStr)}
    return settings.model_dump(mode="json", exclude=secret)
