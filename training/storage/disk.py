"""Detect a full or read-only disk before hours are spent, and report it in one sentence."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.core.errors import TrainingError
from training.errors import RunError

RESUMES: Final = " Then run the same command again: it resumes where it stopped."
_SPARE_BYTES: Final = 2**26
"""Kept free for the records of the run."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})
_DISK_ERRORS: Final = frozenset({*_FULL, *_FORBIDDEN, errno.EROFS})
_SHOWN_CHARACTERS: Final = 200


def is_file_error(error: OSError) -> bool:
    """Whether a file or folder cannot be used for a reason that the user can fix."""
    return error.filename is not None or error.errno in _DISK_ERRORS


def describe_file_error(error: OSError) -> str:
    """Say in one sentence which file cannot be used, and why.

    It is not known here whether the file was read or written; `writing` knows it.
    """
    place = "A file" if error.filename is None else str(error.filename)
    if len(place) > _SHOWN_CHARACTERS:
        place = f"{place[:_SHOWN_CHARACTERS]}..."
    if error.errno in _FULL:
        return unwritable(place, error)
    advice = " Change its permissions." if error.errno in _FORBIDDEN else ""
    return f"{place} cannot be used ({error.strerror}).{advice}"


def unwritable(where: Path | str | None, error: OSError, option: str = "") -> str:
    """Describe a failed write in one sentence.

    Args:
        where: the file or folder; None if the system did not name it.
        error: the system's error.
        option: the option of the command line that names another folder.
    """
    place = "A file" if where is None else str(where)
    return f"{place} cannot be written ({error.strerror}). {_advice(option, error.errno)}"


@contextlib.contextmanager
def writing(
    where: Path, kind: type[TrainingError] = RunError, option: str = "", after: str = ""
) -> Iterator[None]:
    """Turn an `OSError` into one sentence.

    Args:
        where: the file or folder that is written.
        kind: the error to raise.
        option: the option of the command line that names another folder.
        after: follows the sentence, such as `RESUMES`.

    Raises:
        TrainingError: of this kind; the disk is full or not writable.
    """
    try:
        yield
    except OSError as error:
        raise kind(unwritable(where, error, option) + after) from error


def require_room(
    folder: Path, n_bytes: int, what: str, kind: type[TrainingError] = RunError, option: str = ""
) -> None:
    """Fail before hours are spent if a folder is not writable or its disk has no room.

    Args:
        folder: created if it is missing.
        n_bytes: size of what will be written there.
        what: name of what will be written, for the message.
        kind: the error to raise.
        option: the option of the command line that names another folder.

    Raises:
        TrainingError: of this kind.
    """
    with writing(folder, kind, option):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"room")
    free = shutil.disk_usage(folder).free
    if n_bytes + _SPARE_BYTES > free:
        raise kind(
            f"{what} needs {n_bytes / 2**20:.0f} MiB in {folder}, which has {free / 2**20:.0f} "
            f"MiB free. {_advice(option, errno.ENOSPC)}"
        )


def _advice(option: str, code: int | None) -> str:
    another = f"choose another folder{f' with {option}' if option else ''}"
    if code in _FULL:
        return f"Make room, or {another}."
    if code in _FORBIDDEN:
        return f"Change its permissions, or {another}."
    return f"{another[0].upper()}{another[1:]}."
