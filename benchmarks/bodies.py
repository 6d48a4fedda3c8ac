"""Tiles as request bodies: multipart as sent by browsers and curl, raw, and several in a form."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BOUNDARY: Final = "osteo-benchmark-boundary"
_MEDIA_TYPES: Final = {
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}


@dataclass(frozen=True, slots=True)
class Body:
    """A request body with its content type and number of tiles."""

    content: bytes
    content_type: str
    n_tiles: int = 1


@dataclass(frozen=True, slots=True)
class BodyFiles:
    """Bodies of one content type, as files for `wrk`."""

    files: tuple[Path, ...]
    content_type: str
    n_tiles: int


def encode_form(field: str, files: Sequence[Path]) -> Body:
    """Encode a multipart form with the tile files in `field`."""
    parts = [_form_part(field, file) for file in files]
    content = b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()
    return Body(content, f"multipart/form-data; boundary={_BOUNDARY}", len(files))


def encode_raw(file: Path) -> Body:
    """Use the content of a tile file as the body."""
    return Body(file.read_bytes(), _media_type(file))


def encode_batches(field: str, files: Sequence[Path], n_tiles: int) -> list[Body]:
    """Encode full forms of `n_tiles` each, repeating tiles, until every tile is in one."""
    endless = itertools.cycle(files)
    n_bodies = -(-len(files) // n_tiles)
    return [encode_form(field, list(itertools.islice(endless, n_tiles))) for _ in range(n_bodies)]


def write_bodies(bodies: Sequence[Body], folder: Path) -> BodyFiles:
    """Write the bodies for `wrk` into an emptied folder.

    A run has one Content-Type, so bodies of a type other than the first are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.body"):
        old.unlink()
    content_type, n_tiles = bodies[0].content_type, bodies[0].n_tiles
    files = []
    for i, body in enumerate(body for body in bodies if body.content_type == content_type):
        file = folder / f"{i:04}.body"
        file.write_bytes(body.content)
        files.append(file)
    return BodyFiles(tuple(files), content_type, n_tiles)


def _form_part(field: str, file: Path) -> bytes:
    head = (
        f"--{_BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="{field}"; filename="tile{file.suffix}"\r\n'
        f"Content-Type: {_media_type(file)}\r\n\r\n"
    )
    return head.encode() + file.read_bytes() + b"\r\n"


def _media_type(file: Path) -> str:
    return _MEDIA_TYPES.get(file.suffix.lower(), "image/jpeg")
