"""Files that a kill or a full disk cannot leave half-written; locks that end with their process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO, Final

PART_SUFFIX: Final = ".part"
"""Of what is being written: never read, and safe to remove."""


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file that appears whole or not at all.

    Args:
        path: the file; what was there before stays until the new content is on the disk.
        write: writes the content to the stream it is given.

    Raises:
        OSError: the disk is full or not writable; it names the file, and nothing is left behind.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}{PART_SUFFIX}")
    try:
        with part.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk does not say which file it was
        raise
    finally:
        part.unlink(missing_ok=True)


def try_lock(stream: IO[Any]) -> bool:
    """Take the lock of an open file; False where another process has it.

    Where the system has no such locks (Windows), everybody gets one.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(stream: IO[Any]) -> None:
    """Take the lock of an open file as soon as it is free; it is free when its holder ends."""
    import fcntl

    fcntl.flock(stream, fcntl.LOCK_EX)
