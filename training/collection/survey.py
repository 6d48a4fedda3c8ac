"""Read every tile of a folder once, including broken ones, for the report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.appearance import measure_appearance
from app.core.errors import TileError
from app.core.tile import TileLimits, decode_tile_and_header
from app.core.tile_errors import CorruptTileError
from training.collection.perceptual_hash import fingerprints_of
from training.data.annotations import Table
from training.data.index import find_tile_files
from training.data.tile_names import TileName, file_stem_of, parse_tile_name
from training.errors import DataError

_LIMITS: Final = TileLimits(max_bytes=2**30, min_side_px=1)
NO_ROW: Final = "no row in the table"
"""The class of a file that the table does not name."""


@dataclass(frozen=True, slots=True)
class SurveyedTile:
    """A row of the table, or a file without one.

    Attributes:
        stem: the name as the file spells it.
        place: case, slide and corner; None if the name does not say them.
        label: the table's classification, or `NO_ROW`.
        file: relative to the folder, with `/`; None if the row has no file.
        problem: why the tile cannot be read; empty if it can.
        sha256: SHA-256 of the file; empty if it cannot be read.
        size: width and height in pixels as displayed; zeros if it cannot be read.
        tissue_share: as the service's input gate measures it, in [0, 1].
        fingerprints: uint64 `[8, 4]`, perceptual hashes of the tile's rotations and mirror images.
    """

    stem: str
    place: TileName | None
    label: str
    file: str | None
    problem: str
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    tissue_share: float = 0.0
    fingerprints: NDArray[np.uint64] | None = None

    @property
    def case(self) -> str:
        """The case; `?` if the name does not say it."""
        return self.place.case if self.place else "?"


def survey_tiles(
    data_dir: Path,
    table: Table,
    jobs: int = 2,
    track: Callable[[Sequence[Future[SurveyedTile]]], Iterable[Future[SurveyedTile]]] = iter,
) -> tuple[SurveyedTile, ...]:
    """Read every row and every file, sorted by name; unreadable ones are included.

    Args:
        data_dir: the collection.
        table: the collection's table; if a tile has two rows, the first counts.
        jobs: decoding threads.
        track: wraps the tiles to show progress.

    Raises:
        DataError: there are no rows and no files.
    """
    files, problems = find_tile_files(data_dir)
    labels: dict[str, str] = {}
    for row in table.rows:
        labels.setdefault(file_stem_of(row.name), row.classification)
    # A second file with the same name is a problem for an index; here it is another tile.
    paths = [(stem, path) for stem, path in files.items()]
    paths += [(file_stem_of(Path(p.where).stem), data_dir / p.where) for p in problems]
    found: list[tuple[str, Path | None]] = [*paths]
    found += [(stem, None) for stem in labels.keys() - files.keys()]
    if not found:
        raise DataError(f"{data_dir} has no tiles, and its table has no rows.")
    with ThreadPoolExecutor(jobs, thread_name_prefix="survey") as pool:
        try:
            futures = [
                pool.submit(_look, stem, path, labels.get(stem, NO_ROW), data_dir)
                for stem, path in sorted(found, key=lambda entry: (entry[0], str(entry[1])))
            ]
            return tuple(future.result() for future in track(futures))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def read_thumbnail(path: Path, side_px: int) -> NDArray[np.uint8] | None:
    """A thumbnail, uint8 `[side_px, side_px, 3]` RGB; None if the tile cannot be read."""
    try:
        return decode_tile_and_header(path.read_bytes(), _LIMITS, side_px)[0]
    except (OSError, TileError):
        return None


def _look(stem: str, path: Path | None, label: str, data_dir: Path) -> SurveyedTile:
    try:
        place = parse_tile_name(stem)
    except ValueError:
        place = None
    if path is None:
        return SurveyedTile(stem, place, label, None, "the row has no file")
    where = path.relative_to(data_dir).as_posix()
    try:
        content = path.read_bytes()
        tile, header = decode_tile_and_header(content, _LIMITS)
        if header.is_damaged:
            raise CorruptTileError(header.format)
    except OSError as error:
        return SurveyedTile(stem, place, label, where, str(error.strerror))
    except TileError as error:
        return SurveyedTile(stem, place, label, where, str(error))
    return SurveyedTile(
        stem=stem,
        place=place,
        label=label,
        file=where,
        problem="",
        sha256=hashlib.sha256(content).hexdigest(),
        size=(header.width_px, header.height_px),
        tissue_share=measure_appearance(tile).tissue_share,
        fingerprints=fingerprints_of(tile),
    )
