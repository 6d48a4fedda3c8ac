"""What identifies a slide: the SHA-256 of its bytes, and a stamp that shows whether it changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from app.core.manifest import sha256_of_file

Stamp = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of each file."""


def files_of(path: Path) -> list[Path]:
    """The files of a slide: the file itself, or those in the folder of a series, by name."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    return [path]


def stamp_of(path: Path) -> Stamp:
    """Sizes and times, which differ if a file was changed or replaced.

    Raises:
        OSError: a file is gone.
    """
    states = [(file.name, file.stat()) for file in files_of(path)]
    return tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)


def sha256_of_slide(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the sorted SHA-256s of its files, one a line.

    Raises:
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        return sha256_of_file(path)
    lines = sorted(sha256_of_file(file) for file in files_of(path))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
