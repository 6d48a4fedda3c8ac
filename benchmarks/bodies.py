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


def encode_form(field: str, tiles: Sequence[Path]) -> Body:
    """Encode a multipart form with the tiles in `field`."""
    parts = [_form_part(field, tile) for tile in tiles]
    content = b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()
    return Body(content, f"multipart/form-data; boundary={_BOUNDARY}", len(tiles))


def encode_raw(tile: Path) -> Body:
    """Use the file's content as the body."""
    return Body(tile.read_bytes(), _media_type(tile))


def encode_batches(field: str, tiles: Sequence[Path], n_tiles: int) -> list[Body]:
    """Encode full forms of `n_tiles` each, repeating tiles, until every tile is in one."""
    endless = itertools.cycle(tiles)
    n_bodies = -(-len(tiles) // n_tiles)
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


def _form_part(field: str, tile: Path) -> bytes:
    head = (
        f"--{_BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="{field}"; filename="tile{tile.suffix}"\r\n'
        f"Content-Type: {_media_type(tile)}\r\n\r\n"
    )
    return head.encode() + tile.read_bytes() + b"\r\n"


def _media_type(tile: Path) -> str:
    return _MEDIA_TYPES.get(tile.suffix.lower(), "image/jpeg")
