"""The image files of a folder; a folder that cannot be read is an error, not an empty folder."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from training.errors import DataError

IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")
"""Suffixes of the formats that `app.core.tile` decodes."""
_IGNORED_FOLDERS: Final = frozenset({"__MACOSX", "__pycache__"})
_MAX_DEPTH: Final = 8
_SHOWN_CHARACTERS: Final = 120


@dataclass(frozen=True, slots=True)
class Found:
    """Files below a folder.

    Attributes:
        images: sorted by their path.
        others: number of the other files by suffix, such as `.bmp`.
        other_files: their paths relative to the folder, with `/`.
    """

    images: tuple[Path, ...]
    others: Counter[str] = field(default_factory=Counter)
    other_files: frozenset[str] = frozenset()


def require_folder(data_dir: Path) -> None:
    """Check that the data folder is there and can be read.

    Raises:
        DataError: it is missing, not a folder, or not readable.
    """
    shown = str(data_dir)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[:_SHOWN_CHARACTERS]}..."
    try:
        is_folder = data_dir.is_dir()
    except OSError as error:  # such as a name that is too long
        raise DataError(
            f"The data folder cannot be used ({error.strerror}): {shown}. Set OSTEO_DATA_DIR or "
            "--data-dir."
        ) from error
    if not is_folder:
        raise DataError(f"{shown} is not a folder. Set OSTEO_DATA_DIR or --data-dir.")
    _require_readable(data_dir)


def find_images(folder: Path) -> Found:
    """Every image below a folder, without hidden files.

    Raises:
        DataError: a folder cannot be read.
    """
    images: list[Path] = []
    others: list[Path] = []
    for path in files_below(folder):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(path)
        else:
            others.append(path)
    return Found(
        tuple(sorted(images)),
        Counter(path.suffix.lower() for path in others),
        frozenset(path.relative_to(folder).as_posix() for path in others),
    )


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, without hidden ones; links are followed once.

    Raises:
        DataError: a folder cannot be read.
    """
    return _files_below(folder, set(), 0)


def is_hidden(path: Path) -> bool:
    """Whether a file is one that macOS leaves beside others (`._NAME`), or hidden otherwise."""
    return path.name.startswith(".") or path.name in _IGNORED_FOLDERS


def _files_below(folder: Path, seen: set[str], depth: int) -> list[Path]:
    """Files in a folder and the folders in it; links are followed, but no folder is read twice."""
    real = os.path.realpath(folder)
    if real in seen or depth > _MAX_DEPTH:
        return []
    seen.add(real)
    files: list[Path] = []
    for path in list_folder(folder):
        if path.is_dir():
            files += _files_below(path, seen, depth + 1)
        else:
            files.append(path)
    return files


def list_folder(folder: Path) -> list[Path]:
    """The entries of a folder, sorted, without hidden ones.

    Raises:
        DataError: the folder cannot be read.
    """
    _require_readable(folder)
    try:
        return sorted(path for path in folder.iterdir() if not is_hidden(path))
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read ({error.strerror}).") from error


def _require_readable(folder: Path) -> None:
    if not os.access(folder, os.R_OK | os.X_OK):
        raise DataError(
            f"The folder {folder} cannot be read (Permission denied). Run: chmod u+rx '{folder}'"
        )
