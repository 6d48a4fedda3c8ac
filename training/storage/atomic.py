"""Files that appear whole or not at all, and locks that end with their process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO, Final

PART_SUFFIX: Final = ".part"
"""Ends the name of a file that is being written; such a file is never read and may be removed."""


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file that appears whole or not at all.

    Args:
        path: the file; its old content stays until the new content is on the disk.
        write: writes the content to a stream.

    Raises:
        OSError: the disk is full or not writable; the error names the file, and no part remains.
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


def write_bytes_whole(path: Path, content: bytes | memoryview) -> None:
    """Write some bytes as `write_whole` does."""
    write_whole(path, lambda stream: stream.write(content))


def try_lock(stream: IO[Any]) -> bool:
    """Lock an open file; False if another process holds the lock.

    Windows has no such locks, so there every process gets one.
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
    """Lock an open file as soon as the process that holds the lock ends or releases it."""
    import fcntl

    fcntl.flock(stream, fcntl.LOCK_EX)
