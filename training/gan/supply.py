"""Synthetic tiles for each fold, from generators that saw only the fold's training tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.console.plural import plural
from training.console.progress import tracked
from training.data.index import Index
from training.data.splits import Split, fold_positions
from training.data.synthetic import SyntheticPart, SyntheticTiles
from training.errors import LeakError
from training.gan.record import RECORD_NAME, GanRecord, SeenTile, read_record
from training.gan.trainer import open_generator


def training_parts(index: Index, splits: Iterable[Split], whole: bool) -> list[NDArray[np.int64]]:
    """Positions of the training tiles of every fold and, with `whole`, of a fit on all tiles."""
    parts = [fold_positions(index, fold)[0] for split in splits for fold in split.folds]
    return [*parts, np.arange(len(index.tiles))] if whole else parts


def seen_tiles(index: Index, train: NDArray[np.int64]) -> tuple[SeenTile, ...]:
    """The tiles at some positions, as a generator's record lists them."""
    tiles = (index.tiles[i] for i in train)
    return tuple(SeenTile(name=t.name, sha256=t.sha256, label=t.label) for t in tiles)


def supply_synthetic(
    config: TrainingConfig, index: Index, trains: Sequence[NDArray[np.int64]]
) -> SyntheticTiles | None:
    """Generate the synthetic tiles of every fold; None if `gan.proportion` is 0.

    Each fold uses the generator that saw most of its training tiles and no other tile. Tiles with
    the same bytes count as the same tile.

    Args:
        config: the run's configuration.
        index: the real tiles.
        trains: positions of each fold's training tiles.

    Raises:
        LeakError: a fold has no generator, or every generator saw a tile outside the training fold.
        GanError: a generator is damaged, or its fit is not finished.
    """
    if config.gan.proportion == 0:
        return None
    found = find_records(Path(config.gan.dir))
    # Choose all before opening the first, so that a missing one fails at once.
    chosen = [choose_generator(found, index, train, config) for train in trains]
    position = {tile.sha256: i for i, tile in enumerate(index.tiles)}
    ids = index.label_set.ids
    labels = np.array([ids.index(label) for label in index.labels], dtype=np.int64)
    parts = []
    numbered = list(enumerate(zip(trains, chosen, strict=True)))
    for number, (train, (folder, record)) in tracked("Making synthetic tiles")(numbered):
        counts = np.bincount(labels[train], minlength=len(ids)) * config.gan.proportion
        wanted = np.repeat(np.arange(len(ids)), np.rint(counts).astype(int))
        made = open_generator(folder, record).sample(wanted, (config.seed, number))
        seen = frozenset(position[tile.sha256] for tile in record.seen)
        parts.append(SyntheticPart(frozenset(train.tolist()), seen, made, wanted))
    return SyntheticTiles(len(index.tiles), parts, config.network.input_side_px)


def find_records(folder: Path) -> list[tuple[Path, GanRecord]]:
    """Every generator in a folder and the folders in it, sorted by path."""
    paths = sorted([*folder.glob(RECORD_NAME), *folder.glob(f"*/{RECORD_NAME}")])
    return [(path.parent, read_record(path.parent)) for path in paths]


def choose_generator(
    found: Sequence[tuple[Path, GanRecord]],
    index: Index,
    train: NDArray[np.int64],
    config: TrainingConfig,
) -> tuple[Path, GanRecord]:
    """The generator that saw most of some training tiles, all their labels and nothing else.

    Raises:
        LeakError: there is none; the error says what the closest one saw beyond them.
    """
    allowed = {index.tiles[i].sha256 for i in train}
    ids = index.label_set.ids
    needed = {ids.index(index.tiles[i].label) for i in train}
    fitting = [
        (folder, record)
        for folder, record in found
        if {tile.sha256 for tile in record.seen} <= allowed
        and record.label_set.ids == ids
        and needed <= set(record.class_indices)
    ]
    if fitting:
        return max(fitting, key=lambda entry: len(entry[1].seen))
    where = config.gan.dir
    if not found:
        raise LeakError(f"{where} holds no generator. Fit some with 'osteo-train gan fit'.")
    beyond = min(
        ([tile.name for tile in record.seen if tile.sha256 not in allowed] for _, record in found),
        key=len,
    )
    reason = "no generator saw all labels"
    if beyond:
        reason = f"the closest one saw {plural(len(beyond), 'other')}, such as {beyond[0]}"
    raise LeakError(
        f"No generator in {where} saw only the {len(train)} training tiles of each fold "
        f"({reason}). Fit them for this split with 'osteo-train gan fit --split'."
    )
