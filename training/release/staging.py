"""A folder in which a version is made before it is moved next to the others.

A service does not look for versions there, and the folder of a killed process is removed later.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from training.storage.atomic import try_lock

_PREFIX: Final = ".releasing-"
_LOCK_NAME: Final = "lock"


@contextmanager
def staging(model_dir: Path) -> Iterator[Path]:
    """Yield a temporary folder on the same disk as the versions; move the result out before exit.

    Args:
        model_dir: contains the versions of a model.

    Raises:
        OSError: the folder cannot be created.
    """
    _remove_abandoned(model_dir)
    with (
        TemporaryDirectory(prefix=_PREFIX, dir=model_dir) as folder,
        (Path(folder) / _LOCK_NAME).open("x") as lock,
    ):
        try_lock(lock)
        yield Path(folder)


def _remove_abandoned(model_dir: Path) -> None:
    """Remove the folders of dead processes, whose locks are free."""
    for folder in model_dir.glob(f"{_PREFIX}*"):
        try:
            with (folder / _LOCK_NAME).open("r+") as lock:
                if try_lock(lock):
                    shutil.rmtree(folder)
        except OSError:
            continue  # another process is removing it, or has created but not yet locked it
