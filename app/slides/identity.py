"""What identifies a slide: the SHA-256 of its bytes, and a stamp that shows whether it changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from app.core.manifest import sha256_of_file
from app.core.slide_errors import SlideFormatError

Stamp = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of each file."""


def files_of(path: Path) -> list[Path]:
    """The files of a slide, by name.

    The file itself; those in the folder of a series; of MIRAX also those in the folder beside it,
    and of Hamamatsu's VMS and VMU all files beside it, since any of them may hold pixels.

    Raises:
        SlideFormatError: it is a pipe or a device, of which reading might never end.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise SlideFormatError("it is neither a file nor a folder.")
    if path.is_dir():
        return _files_in(path)
    suffix = path.suffix.lower()
    if suffix == ".mrxs" and path.with_suffix("").is_dir():
        return [path, *_files_in(path.with_suffix(""))]
    return _files_in(path.parent) if suffix in {".vms", ".vmu"} else [path]


def _files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file())


def stamp_of(path: Path) -> Stamp:
    """Sizes and times, which differ if a file was changed or replaced.

    Raises:
        SlideFormatError: see `files_of`.
        OSError: a file is gone.
    """
    states = [(file.name, file.stat()) for file in files_of(path)]
    return tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)


def sha256_of_slide(path: Path) -> str:
    """SHA-256 of a file; of several, that of the sorted SHA-256s of all, one a line.

    Raises:
        SlideFormatError: see `files_of`.
        OSError: a file cannot be read.
    """
    files = files_of(path)
    if files == [path]:
        return sha256_of_file(path)
    lines = sorted(sha256_of_file(file) for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
