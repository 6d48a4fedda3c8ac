"""Where `osteo explain` writes its pictures, and in which format."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from app.cli.endings import EXIT_USAGE, fail
from app.cli.names import shown
from app.cli.paths import common_folder, exists, identities_of, is_file, is_folder, name_below
from app.cli.search import Found
from app.inference.heatmap import Picture

FORMATS: Final = {
    ".png": "PNG",
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
}
"""Formats of pictures by suffix."""
_KNOWN: Final = ", ".join(FORMATS)
JPEG_QUALITY: Final = 90
"""Pillow's scale. At 90, without subsampling of colours, thin contours of the map stay clean."""
_FULL_OR_READ_ONLY: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


@dataclass(frozen=True, slots=True)
class Destination:
    """One file for one tile, or a folder with a picture for each tile.

    Attributes:
        path: of the file or the folder.
        is_folder: which of them it is.
        common: the folder that contains all tiles; pictures are named by the paths below it.
    """

    path: Path
    is_folder: bool
    common: Path | None

    def picture_of(self, tile: Path) -> Path:
        """Path of a tile's picture: `a/1.jpg` becomes `a/1.jpg.png`, so that no two are equal."""
        if not self.is_folder:
            return self.path
        name = name_below(self.common, tile)
        name = name.relative_to(name.anchor)
        return self.path / name.parent / f"{name.name}.png"


def choose_destination(output: str, named: Sequence[Path], picture: Picture) -> Destination:
    """Decide from the arguments whether a file or a folder is meant; end the command if neither."""
    path = Path(output)
    if not output:
        fail("An empty output path was given; is a variable unset?", EXIT_USAGE)
    wants_folder = is_folder(path) or output.endswith(("/", os.sep))
    for_folder = wants_folder or len(named) > 1 or is_folder(named[0])
    if for_folder:
        _require_folder(path, named)
    else:
        _require_file(path, picture)
    return Destination(path, for_folder, common_folder(named))


def require_no_tile(destination: Destination, found: Sequence[Found]) -> None:
    """End the command if a picture would replace a tile."""
    tiles = identities_of(file.path for file in found)
    for file in found:
        picture = destination.picture_of(file.path)
        if identities_of([picture]) & tiles:
            fail(f"{shown(picture)} is the tile itself; choose another output.", EXIT_USAGE)


def write_picture(path: Path, png: bytes) -> None:
    """Write a PNG in the format of the suffix, with the folders above it.

    Raises:
        OSError: it could not be written; no half picture is left.
    """
    content = png if FORMATS.get(path.suffix.lower()) != "JPEG" else _jpeg(png)
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("wb")
    try:
        with stream:
            stream.write(content)
    except BaseException:  # Ctrl-C included
        if is_file(path):
            with suppress(OSError):
                path.unlink()
        raise


def concerns_all(error: OSError) -> bool:
    """Whether the next picture would fail in the same way, as on a full disk."""
    return error.errno in _FULL_OR_READ_ONLY


def _jpeg(png: bytes) -> bytes:
    stream = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        image.save(stream, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    return stream.getvalue()


def _require_folder(path: Path, named: Sequence[Path]) -> None:
    if path.suffix.lower() in FORMATS and not is_folder(path):
        fail(
            f"{shown(path)} is the name of one picture; for several tiles or a folder, name a "
            "folder, such as -o maps.",
            EXIT_USAGE,
        )
    if exists(path) and not is_folder(path):
        fail(f"{shown(path)} is not a folder.", EXIT_USAGE)
    if identities_of([path]) & identities_of(filter(is_folder, named)):
        fail(
            f"{shown(path)} is searched for tiles; choose another folder for the pictures.",
            EXIT_USAGE,
        )
    require_access(path, next(one for one in (path, *path.parents) if exists(one)))


def _require_file(path: Path, picture: Picture) -> None:
    if exists(path) and not is_file(path):
        return  # a device or a pipe: a PNG, whatever its name
    format_ = FORMATS.get(path.suffix.lower())
    if format_ is None:
        fail(
            f"{shown(path)} has no suffix of a known picture format ({_KNOWN}); write a slash "
            "after the name of a folder.",
            EXIT_USAGE,
        )
    if format_ == "JPEG" and picture == "heat":
        fail("A JPEG has no transparency, which --picture heat needs; write a .png.", EXIT_USAGE)
    if not is_folder(path.parent):
        fail(f"{shown(path)} cannot be written: {shown(path.parent)} is not a folder.", EXIT_USAGE)
    require_access(path, path if exists(path) else path.parent)


def require_access(path: Path, existing: Path) -> None:
    """End the command if `existing`, which is `path` or a folder above it, may not be written."""
    if not os.access(existing, os.W_OK):
        fail(f"{shown(path)} cannot be written: {os.strerror(errno.EACCES)}.", EXIT_USAGE)
