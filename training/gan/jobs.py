"""Plan the generators of `osteo-train gan`, fit them, and write samples."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from training.console.progress import tracked
from training.data.index import Index
from training.data.splits import Split, fold_positions
from training.data.tile_rules import SYNTHETIC_NOTE
from training.errors import GanError
from training.features.extract import read_tiles
from training.gan.gallery import GRID_COLUMNS, draw_grid, write_progress
from training.gan.record import GanRecord, GanSettings, begin_folder, read_record
from training.gan.supply import seen_tiles
from training.gan.trainer import fit_gan, open_generator
from training.storage.disk import writing

ALL_TILES: Final = "all"


def plan_generators(
    out: Path,
    settings: GanSettings,
    index: Index,
    index_sha256: str,
    chosen: tuple[Split, str] | None,
) -> list[tuple[Path, GanRecord]]:
    """A folder and a record for each fold of a split, or for all tiles without a split."""

    def job(folder_name: str, fold: str | None, train: NDArray[np.int64]) -> tuple[Path, GanRecord]:
        record = GanRecord(
            settings=settings,
            label_set=index.label_set,
            index_sha256=index_sha256,
            split_sha256=chosen[1] if chosen else None,
            fold=fold,
            seen=seen_tiles(index, train),
        )
        return out / folder_name, record

    if chosen is None:
        return [job(ALL_TILES, None, np.arange(len(index.tiles)))]
    jobs = []
    for fold in chosen[0].folds:
        slug = re.sub(r"[^a-z0-9]+", "-", fold.name.lower()).strip("-").removeprefix("fold-")
        train, _ = fold_positions(index, fold)
        jobs.append(job(f"{chosen[0].kind}-{slug}", fold.name, train))
    return jobs


def fit_generators(
    jobs: Sequence[tuple[Path, GanRecord]], index: Index, data_dir: Path
) -> Iterator[tuple[Path, GanRecord]]:
    """Fit the generators that are not fitted yet, in order, and yield each one.

    Raises:
        GanError: a folder holds another generator, is damaged or is not writable.
        DataError: a tile cannot be read.
    """
    for folder, record in jobs:  # fails before any work
        begin_folder(folder, record)
    tiles = read_tiles(index, data_dir, jobs[0][1].settings.side_px)
    position = {tile.name: i for i, tile in enumerate(index.tiles)}
    for folder, record in jobs:
        seen = np.array([position[tile.name] for tile in record.seen], dtype=np.int64)
        ids = record.label_set.ids
        labels = np.array([ids.index(tile.label) for tile in record.seen], dtype=np.int64)
        fit_gan(
            folder,
            record,
            tiles[seen],
            labels,
            tracked(f"Fitting {folder.name}"),
            lambda gan, epoch, at=folder, of=record: write_progress(at, of, gan, epoch),  # type: ignore[misc] # mypy cannot infer the defaults' types
        )
        yield folder, record


def write_samples(folder: Path, out: Path, count: int, seed: int) -> int:
    """Write PNGs of every label that the generator saw, and a grid of them.

    A comment in each file says that it is synthetic; no index accepts such a file as a tile.

    Returns:
        The number of tiles.

    Raises:
        GanError: there is no generator, its fit is not finished, or `out` is not writable.
    """
    record = read_record(folder)
    gan = open_generator(folder, record)
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", SYNTHETIC_NOTE)
    labels, known = record.class_indices, record.label_set
    tiles = gan.sample(np.repeat(labels, count), seed)
    with writing(out, GanError, "--out"):
        out.mkdir(parents=True, exist_ok=True)
        for i, tile in enumerate(tiles):
            name = f"synthetic-{known.ids[labels[i // count]]}-{i % count:04}.png"
            Image.fromarray(tile).save(out / name, pnginfo=note)
        shown = gan.sample(np.repeat(labels, GRID_COLUMNS), seed)
        draw_grid(shown, [known.names[i] for i in labels]).save(out / "grid.png", pnginfo=note)
    return len(tiles)
