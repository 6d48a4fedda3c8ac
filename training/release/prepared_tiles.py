"""Tiles as the model sees them, as PNG files, for programs that cannot decode them in our way."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from app.core.errors import TileError
from app.core.tile import DEFAULT_LIMITS, decode_tile
from training.console.progress import tracked
from training.errors import DataError
from training.reliability.flag_rates import SUFFIXES
from training.storage.atomic import write_bytes_whole
from training.storage.disk import writing


def write_prepared_tiles(sources: Sequence[Path], out: Path, side_px: int) -> int:
    """Decode tiles with `decode_tile` and write each as a PNG of the model's side.

    Decoding such a PNG gives its pixels again, so it is classified like the original, bit for bit.
    A file in a folder keeps its path below the folder, and `.png` is added to its name.

    Args:
        sources: image files, and folders that are searched for JPEG, PNG, TIFF and WebP files.
        out: receives the PNGs.
        side_px: side of the model's input.

    Returns:
        The number of tiles.

    Raises:
        DataError: a tile cannot be decoded or is damaged, there is no such file or folder, a folder
            has no tiles, two tiles have one name, or `out` lies in a folder that is searched.
    """
    targets: dict[Path, Path] = {}
    for file, name in _named_tiles(sources, out):
        target = out / f"{name}.png"
        if target in targets:
            raise DataError(f"{targets[target]} and {file} would both become {target}.")
        targets[target] = file
    for target, file in tracked("Preparing tiles")(list(targets.items())):
        png = io.BytesIO()
        try:
            tile = decode_tile(file.read_bytes(), DEFAULT_LIMITS, side_px)
        except OSError as error:
            raise DataError(f"{file} cannot be read ({error.strerror}).") from error
        except TileError as error:
            raise DataError(f"{file}: {error}") from error
        Image.fromarray(tile).save(png, "PNG")
        with writing(target, DataError, "--out"):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes_whole(target, png.getvalue())
    return len(targets)


def _named_tiles(sources: Sequence[Path], out: Path) -> Iterator[tuple[Path, Path]]:
    """Every tile, and the path that it keeps."""
    for source in sources:
        if source.is_file():
            yield source, Path(source.name)
            continue
        if not source.is_dir():
            raise DataError(f"There is no file or folder {source}.")
        if out.resolve().is_relative_to(source.resolve()):
            raise DataError(f"--out must not lie in {source}, whose tiles are prepared.")
        found = sorted(
            path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
        )
        if not found:
            raise DataError(f"{source} has no tiles (JPEG, PNG, TIFF, WebP).")
        yield from ((path, path.relative_to(source)) for path in found)
