"""Questions about paths that a locked folder or a name that is too long answers with no.

The methods of `pathlib.Path` raise `PermissionError` and other errors instead (before Python 3.14).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

Identity = tuple[int, int]
"""Device and inode, which identify a file or folder under any of its names."""


def exists(path: Path) -> bool:
    """Whether something is there; a link to nowhere is not."""
    return _status(path) is not None


def is_folder(path: Path) -> bool:
    """Whether it is a folder or a link to one."""
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def is_file(path: Path) -> bool:
    """Whether it is a regular file or a link to one: no pipe, socket or device."""
    status = _status(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def identity_of(path: Path) -> Identity:
    """Identify a file or folder; links are followed.

    Raises:
        OSError: it cannot be looked at.
    """
    status = path.stat()
    return status.st_dev, status.st_ino


def identities_of(paths: Iterable[Path]) -> set[Identity]:
    """Identify those that can be looked at."""
    statuses = (_status(path) for path in paths)
    return {(status.st_dev, status.st_ino) for status in statuses if status is not None}


def common_folder(named: Iterable[Path]) -> Path | None:
    """The folder that contains all named files and is, or contains, all named folders.

    None if there is none, as for two drives of Windows.
    """
    try:
        folders = [absolute(path if is_folder(path) else path.parent) for path in named]
        return Path(os.path.commonpath(folders))
    except ValueError:
        return None


def name_below(folder: Path | None, path: Path) -> Path:
    """The path relative to a folder if it lies below, else from the root; links stay as named."""
    whole = absolute(path)
    if folder is None or whole == folder or not whole.is_relative_to(folder):
        return whole
    return whole.relative_to(folder)


def absolute(path: Path) -> Path:
    """The path from the root, without `..`."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would rename linked folders


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
