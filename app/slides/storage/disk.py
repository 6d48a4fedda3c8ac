"""Folders and files that only this service's user may read, and what a full disk means."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from app.core.slide_store_errors import DiskFullError, SlideStoreUnavailableError
from app.telemetry.logs import LOGGER_NAME

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OF_DISKS: Final = frozenset({errno.EIO, errno.EROFS, errno.ESTALE})
"""What only a disk can say, so that the name of the file is not needed to tell it from a socket."""

_logger = logging.getLogger(LOGGER_NAME)


@contextmanager
def naming_full_disk() -> Iterator[None]:
    """Raise `DiskFullError` in place of the system's error about a full disk or quota."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError from error
        raise


@contextmanager
def naming_unusable_folder(root: Path) -> Iterator[None]:
    """Raise a named error in place of the system's about a folder, with the reason in the log.

    Args:
        root: the folder; errors about it, what is in it or what it is in are named.

    Raises:
        DiskFullError: the disk is full.
        SlideStoreUnavailableError: the folder cannot be made, read or written to.
    """
    try:
        yield
    except FileNotFoundError:
        raise  # a file that was just deleted says nothing about its folder
    except OSError as error:
        if error.errno not in _OF_DISKS and not _is_about(root, error.filename):
            raise
        if error.errno in _FULL:
            raise DiskFullError from error
        _logger.error("slide_store_unavailable", extra={"reason": error.strerror})  # noqa: TRY400 - a traceback would name the folder
        raise SlideStoreUnavailableError from error


def _is_about(root: Path, filename: object) -> bool:
    if not isinstance(filename, str | os.PathLike):
        return False
    path = Path(filename)
    return path.is_relative_to(root) or root.is_relative_to(path)


def make_folder(path: Path) -> Path:
    """Create a folder, and those above it, that only this user may open; it may exist already.

    Raises:
        DiskFullError: there is no room for it.
        OSError: it cannot be created.
    """
    with naming_full_disk():
        for folder in reversed((path, *path.parents)):
            if not folder.exists():
                folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    return path


def write_file(path: Path, content: bytes) -> None:
    """Write a small file in one step, so that a reader or a crash never sees half of it.

    Raises:
        DiskFullError: there is no room; the former file is as it was.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with naming_full_disk():
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; it may be gone already."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def bytes_below(path: Path) -> int:
    """Sum of the sizes of all files below a folder; symbolic links are not followed."""
    total = 0
    pending = [path]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue  # deleted meanwhile
    return total
