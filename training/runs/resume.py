"""Where a stopped run is saved until the same command resumes and finishes it.

`OUT/unfinished/` holds a directory for each identity (`training.runs.identity`). A run with other
settings has a directory of its own, so it never continues from this one's checkpoints, and resumes
from its own as soon as those settings are used again. A finished run with other settings is moved
to `OUT/previous/` before the new one begins, so that nobody takes it for the new one.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from training.console.progress import ERRORS
from training.distributed import is_chief, rank_and_size
from training.errors import RunError
from training.fit.checkpoint_dir import CheckpointDir
from training.runs.identity import RunIdentity
from training.runs.records import RUN_FILES, RUN_NAME
from training.storage.atomic import try_lock
from training.storage.disk import RESUMES, writing
from training.storage.event_files import CURVES_NAME

RESUME_DIR_NAME: Final = "unfinished"
PREVIOUS_NAME: Final = "previous"
_IDENTITY_NAME: Final = "identity.json"


@contextlib.contextmanager
def resumable(out: Path, identity: RunIdentity) -> Iterator[CheckpointDir]:
    """The checkpoints of a run: removed when the block ends, kept if it raises.

    Raises:
        RunError: another process is using `out`, or the folder cannot be written.
    """
    top = out / RESUME_DIR_NAME
    if not is_chief():
        yield CheckpointDir(top)  # the first process reads and writes for all
        shutil.rmtree(resumable_features_dir(out), ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty if the first process shares the folder
            top.rmdir()
            out.rmdir()
        return
    folder = top / identity.digest[:16]
    with writing(top, after=RESUMES):
        top.mkdir(parents=True, exist_ok=True)
        stream = (top / "lock").open("wb")
    with stream:
        if not try_lock(stream):
            raise RunError(f"Another process is using {out}. Wait for it, or choose another --out.")
        _set_aside_other_run(out, identity)
        checkpoints = CheckpointDir(folder)
        if _holds_results(folder):
            ERRORS.print(f"Resuming from {folder}.", soft_wrap=True)
        else:
            _report_other_runs(top, identity)
            content = identity.model_dump_json(indent=1).encode() + b"\n"
            checkpoints.write(_IDENTITY_NAME, lambda out: out.write(content))
        yield checkpoints
        shutil.rmtree(top, ignore_errors=True)


def resumable_features_dir(out: Path) -> Path:
    """The folder of a run's features until it is finished; each process has its own."""
    return out / RESUME_DIR_NAME / f"features-{rank_and_size()[0]}"


def live_curves_dir(out: Path, identity: RunIdentity) -> Path:
    """The folder of a run's learning curves until it is finished."""
    return out / RESUME_DIR_NAME / identity.digest[:16] / CURVES_NAME


def _set_aside_other_run(out: Path, identity: RunIdentity) -> None:
    """Move the files of a finished run, `run.json` first, because it says that they are complete.

    Raises:
        RunError: the folder cannot be written.
    """
    record = out / RUN_NAME
    if not record.exists():
        return
    try:
        other = json.loads(record.read_bytes())["identity"] or {}
    except (ValueError, KeyError, TypeError):
        other = {}  # damaged, or written by an early version
    previous = out / PREVIOUS_NAME
    with writing(previous):
        shutil.rmtree(previous, ignore_errors=True)
        previous.mkdir()
        for name in RUN_FILES:
            if (out / name).exists():
                (out / name).rename(previous / name)
    ERRORS.print(
        f"The finished run in {out} has other settings ({', '.join(identity.differences(other))}). "
        f"It is now in {previous}.",
        soft_wrap=True,
        highlight=False,
    )


def _holds_results(folder: Path) -> bool:
    """Whether the run was stopped after it had saved more than its identity and its curves."""
    return folder.is_dir() and any(
        path.name not in (_IDENTITY_NAME, CURVES_NAME) for path in folder.iterdir()
    )


def _report_other_runs(top: Path, identity: RunIdentity) -> None:
    for path in sorted(top.glob(f"*/{_IDENTITY_NAME}")):
        if not _holds_results(path.parent):
            continue
        try:
            other = json.loads(path.read_bytes())
        except ValueError:
            continue
        ERRORS.print(
            f"Starting from the beginning: {path.parent} belongs to a run with other settings "
            f"({', '.join(identity.differences(other))}).",
            soft_wrap=True,
            highlight=False,
        )
