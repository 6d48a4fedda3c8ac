"""Read every tile of a folder once, including broken ones, for the report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from training.data.collection_tiles import place_of_name
from training.data.label_set import LabelSet
from training.data.labels import COLLECTION_LABELS
from training.data.tile_names import file_stem_of
from training.data.tile_source import SourceTile, TilePlace, TileSource
from training.errors import DataError

_LIMITS: Final = TileLimits(max_bytes=2**30, min_side_px=1)
NO_ROW: Final = "no row in the table"
"""The class of a file that the table does not name."""


@dataclass(frozen=True, slots=True)
class SurveyedTile:
    """A tile that a row or a folder names, or a file without a row.

    Attributes:
        stem: the name as the file spells it.
        place: case, slide and corner, if they are known.
        label: its class, or `NO_ROW`.
        file: relative to the folder, with `/`; None if the row has no file.
        problem: why the tile cannot be read; empty if it can.
        sha256: SHA-256 of the file; empty if it cannot be read.
        size: width and height in pixels as displayed; zeros if it cannot be read.
        tissue_share: as the service's input gate measures it, in [0, 1].
        fingerprints: uint64 `[8, 4]`, perceptual hashes of the tile's rotations and mirror images.
    """

    stem: str
    place: TilePlace
    label: str
    file: str | None
    problem: str
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    tissue_share: float = 0.0
    fingerprints: NDArray[np.uint64] | None = None

    @property
    def case(self) -> str:
        """The case; `?` if it is unknown."""
        return self.place.case or "?"


def survey_tiles(
    data_dir: Path,
    source: TileSource,
    labels: LabelSet = COLLECTION_LABELS,
    jobs: int = 2,
    track: Callable[[Sequence[Future[SurveyedTile]]], Iterable[Future[SurveyedTile]]] = iter,
) -> tuple[SurveyedTile, ...]:
    """Read every row and every file, sorted by name; unreadable ones are included.

    Args:
        data_dir: the folder.
        source: what the folder says about its tiles; if a tile has two rows, the first counts.
        labels: give classes their names; the collection's classes keep those of its table.
        jobs: decoding threads.
        track: wraps the tiles to show progress.

    Raises:
        DataError: there are no rows and no files.
    """
    named = {tile.name: tile for tile in reversed(source.tiles)}
    found = [_Named(t.name, t.place, _class_of(t, source, labels), t.file) for t in named.values()]
    found += [_unnamed(data_dir / p.where, named, source, labels) for p in source.problems]
    if not found:
        raise DataError(f"{data_dir} has no tiles, and its table has no rows.")
    with ThreadPoolExecutor(jobs, thread_name_prefix="survey") as pool:
        try:
            futures = [
                pool.submit(_look, tile, data_dir)
                for tile in sorted(found, key=lambda tile: (tile.name, str(tile.file)))
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


@dataclass(frozen=True, slots=True)
class _Named:
    """A tile before it is read."""

    name: str
    place: TilePlace
    label: str
    file: Path | None


def _class_of(tile: SourceTile, source: TileSource, labels: LabelSet) -> str:
    label_id = None if source.layout == "collection" else labels.find(tile.raw_label)
    return tile.raw_label if label_id is None else labels.names[labels.ids.index(label_id)]


def _unnamed(
    file: Path, named: Mapping[str, SourceTile], source: TileSource, labels: LabelSet
) -> _Named:
    """A file without a row, or a second file of one name, which is another tile here."""
    stem = file_stem_of(file.stem)
    twin = named.get(stem)
    label = NO_ROW if twin is None else _class_of(twin, source, labels)
    return _Named(stem, place_of_name(stem), label, file)


def _look(named: _Named, data_dir: Path) -> SurveyedTile:
    stem, place, label, path = named.name, named.place, named.label, named.file
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
