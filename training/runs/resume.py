"""What a run that was stopped has done so far, kept on disk until the run is finished.

`OUT/unfinished/` holds a folder for each identity (`training.runs.identity`): finished folds and
checkpoints of the phase under way. Work of other settings has another folder, so it is never taken
for this run's, and is still there for whoever goes back to them. Files appear whole or not at all,
so the folder may be left at any moment, by Ctrl-C, `kill -9` or a full disk.

Of several processes that train together the first keeps the work, and reads it for all of them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from training.console.progress import ERRORS
from training.distributed import bytes_of_first, is_chief, share
from training.errors import RunError
from training.runs.identity import RunIdentity
from training.storage.atomic import try_lock, write_whole
from training.storage.disk import unwritable

UNFINISHED_NAME: Final = "unfinished"
CHECKPOINT_EVERY_S: Final = 30.0
"""What a kill costs at most, beside starting again; a checkpoint is written in a second or less."""


_GOES_ON: Final = " The same command then goes on where it was."


class Work:
    """A folder of kept work; `Work(None)` keeps nothing and finds nothing."""

    def __init__(self, folder: Path | None, every_s: float | None = None) -> None:
        """Nothing is read yet.

        Args:
            folder: where files are kept.
            every_s: seconds between checkpoints; `CHECKPOINT_EVERY_S` where not given.
        """
        self._folder = folder
        self._every_s = CHECKPOINT_EVERY_S if every_s is None else every_s
        self._written = time.monotonic()

    def within(self, name: str) -> Work:
        """The work of a part of the run."""
        return Work(self._folder and self._folder / name, self._every_s)

    @property
    def is_due(self) -> bool:
        """Whether the latest checkpoint is old enough for another."""
        return self._folder is not None and time.monotonic() - self._written >= self._every_s

    def read(self, name: str) -> bytes | None:
        """A kept file, or None. All processes that train together must ask, and get the same."""
        if self._folder is None:
            return None
        path, content = self._folder / name, None
        if is_chief() and path.exists():
            content = path.read_bytes()
        return bytes_of_first(content)

    def write(self, name: str, write: Callable[[BinaryIO], Any]) -> None:
        """Keep a file, in the first process.

        Raises:
            RunError: the disk is full or cannot be written.
        """
        self._written = time.monotonic()
        if self._folder is None or not is_chief():
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / name, write)
        except OSError as error:
            raise RunError(unwritable(self._folder, error) + _GOES_ON) from error

    def drop_checkpoints(self) -> None:
        """Of a part whose result is kept: they are many times as large."""
        if self._folder is not None and is_chief():
            for path in self._folder.glob("*.npz"):
                path.unlink(missing_ok=True)


NOTHING_KEPT: Final = Work(None)


@contextlib.contextmanager
def kept_work(out: Path, identity: RunIdentity) -> Iterator[Work]:
    """The work of a run, which goes when the run is finished and stays when it is stopped.

    Args:
        out: the run's folder; only one process at a time may work there.
        identity: what decides the result.

    Raises:
        RunError: another process works there, or the folder cannot be written.
    """
    top = out / UNFINISHED_NAME
    if not is_chief():
        yield Work(top)  # the first process reads and writes for all
        shutil.rmtree(unfinished_features(out), ignore_errors=True)
        with contextlib.suppress(OSError):  # another process' work is there, where they share it
            top.rmdir()
            out.rmdir()
        return
    folder = top / identity.digest[:16]
    try:
        top.mkdir(parents=True, exist_ok=True)
        stream = (top / "lock").open("wb")
    except OSError as error:
        raise RunError(unwritable(top, error) + _GOES_ON) from error
    with stream:
        if not try_lock(stream):
            raise RunError(f"Another process works in {out}. Wait for it, or give another --out.")
        work = Work(folder)
        if _holds_work(folder):
            ERRORS.print(f"Going on with what is kept in {folder}.", soft_wrap=True)
        else:
            _say_what_else_is_kept(top, identity)
            content = identity.model_dump_json(indent=1).encode() + b"\n"
            work.write("identity.json", lambda out: out.write(content))
        yield work
        shutil.rmtree(top, ignore_errors=True)


def unfinished_features(out: Path) -> Path:
    """Where a run keeps its features until it is finished; each process has its own."""
    return out / UNFINISHED_NAME / f"features-{share()[0]}"


def _holds_work(folder: Path) -> bool:
    """Whether it was stopped after there was something to keep."""
    return folder.is_dir() and any(path.name != "identity.json" for path in folder.iterdir())


def _say_what_else_is_kept(top: Path, identity: RunIdentity) -> None:
    for path in sorted(top.glob("*/identity.json")):
        if not _holds_work(path.parent):
            continue
        try:
            other = json.loads(path.read_bytes())
        except ValueError:
            continue
        ERRORS.print(
            f"Begun anew: {path.parent} is kept from a run with other settings "
            f"({', '.join(identity.differences(other))}).",
            soft_wrap=True,
            highlight=False,
        )
