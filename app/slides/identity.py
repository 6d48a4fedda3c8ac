"""The SHA-256 that identifies a slide, whatever its name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PIECE_BYTES: Final = 1024**2


def sha256_of(path: Path) -> str:
    """SHA-256 of a slide in hexadecimal digits.

    Of a file: of its content. If other files belong to it, as to a MIRAX slide, or if the slide is
    a folder, as a DICOM series: of the sorted digests of all files, each followed by a line break.

    Args:
        path: the file or folder.

    Raises:
        OSError: a file cannot be read.
    """
    files = list(_files(path))
    if files == [path]:
        return _sha256_of_file(path)
    digests = sorted(map(_sha256_of_file, files))
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


def stamp_of(path: Path) -> str:
    """A short text that changes when a slide's files do; cheap, unlike the SHA-256.

    Raises:
        OSError: a file is gone.
    """
    stats = sorted((stat.st_size, stat.st_mtime_ns) for stat in (f.stat() for f in _files(path)))
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file())
        return
    yield path
    companions = path.with_suffix("")  # MIRAX: `slide.mrxs` and the folder `slide`
    if path.suffix.lower() == ".mrxs" and companions.is_dir():
        yield from _files(companions)


def _sha256_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
