"""A lock on the folder of a slide's results, which ends with the process that has it."""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LOCK_NAME: Final = ".lock"
_LOOK_PERIOD_S: Final = 0.05


@contextmanager
def locked(folder: Path, within_s: float) -> Iterator[None]:
    """Wait for another process that still works in the folder.

    Two runs in one folder would mix their tiles. A worker that was paused may have lost its job,
    while its process goes on.

    Args:
        folder: it is made if it does not exist.
        within_s: how long to wait, in seconds.

    Raises:
        TimeoutError: the other process does not end.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + within_s
    with (folder / LOCK_NAME).open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        errno.ETIMEDOUT, "another process works in the folder"
                    ) from None
                time.sleep(_LOOK_PERIOD_S)
        yield
