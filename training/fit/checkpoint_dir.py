"""The directory in which a run that may be stopped saves finished folds and checkpoints.

Files appear complete or not at all, so a run may be stopped at any moment: by Ctrl-C, `kill -9` or
a full disk. If several processes train together, the first one writes, and reads for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

from training.distributed import bytes_of_first, is_chief
from training.storage.atomic import write_whole
from training.storage.disk import RESUMES, writing

CHECKPOINT_EVERY_S: Final = 30.0
"""A kill costs at most this plus the start of the command; writing takes a second or less."""


class CheckpointDir:
    """A directory of checkpoints; `CheckpointDir(None)` saves nothing and finds nothing."""

    def __init__(self, folder: Path | None, every_s: float | None = None) -> None:
        """Nothing is read yet.

        Args:
            folder: folder of the files; the first write creates it.
            every_s: seconds between checkpoints; `CHECKPOINT_EVERY_S` by default.
        """
        self._folder = folder
        self._every_s = CHECKPOINT_EVERY_S if every_s is None else every_s
        self._written = time.monotonic()

    def subdirectory(self, name: str) -> CheckpointDir:
        """The directory of a part of the run."""
        return CheckpointDir(self._folder and self._folder / name, self._every_s)

    @property
    def is_due(self) -> bool:
        """Whether the latest checkpoint is old enough for another."""
        return self._folder is not None and time.monotonic() - self._written >= self._every_s

    def read(self, name: str) -> bytes | None:
        """A file's content, or None if there is no such file.

        All processes that train together must call this, and all get the same content.
        """
        if self._folder is None:
            return None
        path, content = self._folder / name, None
        if is_chief() and path.exists():
            content = path.read_bytes()
        return bytes_of_first(content)

    def write(self, name: str, write: Callable[[BinaryIO], Any]) -> None:
        """Write a file, in the first process.

        Raises:
            RunError: the disk is full or cannot be written.
        """
        self._written = time.monotonic()
        if self._folder is None or not is_chief():
            return
        with writing(self._folder, after=RESUMES):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / name, write)

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints of a part whose result is saved; they are many times as large."""
        if self._folder is not None and is_chief():
            for path in self._folder.glob("*.npz"):
                path.unlink(missing_ok=True)


NO_CHECKPOINTS: Final = CheckpointDir(None)
