"""Where a version is made before it appears: no service looks there, and a kill's rest is swept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from training.storage.atomic import try_lock

_PREFIX: Final = ".calibrating-"
_LOCK_NAME: Final = "lock"


@contextmanager
def staging(model_dir: Path) -> Iterator[Path]:
    """A folder on the disk of the versions, gone at the end; what was made is moved out before.

    Args:
        model_dir: holds the versions of a model.

    Raises:
        OSError: the folder cannot be made.
    """
    _sweep(model_dir)
    with (
        TemporaryDirectory(prefix=_PREFIX, dir=model_dir) as folder,
        (Path(folder) / _LOCK_NAME).open("x") as lock,
    ):
        try_lock(lock)
        yield Path(folder)


def _sweep(model_dir: Path) -> None:
    """Remove what was left by processes that are no more: their locks are free."""
    for folder in model_dir.glob(f"{_PREFIX}*"):
        try:
            with (folder / _LOCK_NAME).open("r+") as lock:
                if try_lock(lock):
                    shutil.rmtree(folder)
        except OSError:
            continue  # another process sweeps it, or has just made it and not locked it yet
