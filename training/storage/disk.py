"""Disks that are full or cannot be written: known before hours are spent, said in one sentence."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path
from typing import Final

from training.errors import RunError

_SPARE_BYTES: Final = 2**20
_OF_THE_DISK: Final = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
    }
)


def is_of_the_disk(error: OSError) -> bool:
    """Whether a file could not be written for a reason that the user can mend."""
    return error.errno in _OF_THE_DISK


def unwritable(where: Path | str | None, error: OSError) -> str:
    """The sentence for it; an error in the middle of a file does not say which file it was."""
    place = "A file" if where is None else str(where)
    return f"{place} cannot be written ({error.strerror}). Make room, or name another folder."


def require_room(folder: Path, n_bytes: int, what: str) -> None:
    """Fail before hours are spent where a folder cannot be written, or its disk has no room.

    Args:
        folder: made where it is missing.
        n_bytes: that will be written there.
        what: will be written, for the reader.

    Raises:
        RunError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"room")
    except OSError as error:
        raise RunError(unwritable(folder, error)) from error
    free = shutil.disk_usage(folder).free
    if n_bytes + _SPARE_BYTES > free:
        raise RunError(
            f"{what} needs {n_bytes / 2**20:.0f} MiB in {folder}, and {free / 2**20:.0f} MiB are "
            "free. Make room, or name another folder."
        )
