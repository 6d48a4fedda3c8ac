"""The whole way from a folder of tiles to a checked bundle: `osteo-train release`, `make model`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.core.manifest import Manifest, SplitKind
from training.config import SplitsConfig, TrainingConfig
from training.console.progress import tracked
from training.data.annotations import find_table, read_table
from training.data.index import build_index, require_no_problems, write_index
from training.data.labelled_tiles import LabelledTiles
from training.data.labels import require_every_label
from training.data.splits import make_split, write_split
from training.data.tiles import TileStream
from training.errors import RunError
from training.gan.supply import supply_synthetic, training_parts
from training.networks.graphs import build_backbone, require_weights
from training.release.bundle import assemble_bundle, remove_incomplete, require_no_bundle
from training.runs.cross_validation import FitTask, Fitting
from training.runs.records import read_cross_validation, read_final_fit
from training.runs.resume import RESUME_DIR_NAME, resumable_features_dir
from training.storage.disk import require_room

_BUNDLE_BYTES: Final = 12
"""A parameter: four of SavedModel, four of LiteRT, one of int8, and plots and golden tiles."""
_RUN_BYTES: Final = 16
"""A parameter: its weight, the optimizer's two moments, and the running average."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a release reads and writes.

    Attributes:
        data_dir: holds `Training-Set-*` and the table.
        runs_dir: index, splits, answers and weights, for whoever wants to look.
        models_dir: receives `NAME/VERSION/`.
    """

    data_dir: Path
    runs_dir: Path
    models_dir: Path


def release_bundle(
    config: TrainingConfig,
    folders: Folders,
    table: Path | None = None,
    strict: bool = True,
) -> tuple[Path, Manifest]:
    """Index, split three ways, cross-validate each, fit on all tiles, export, check.

    What a release that was stopped has finished in `runs_dir` is kept.

    Args:
        config: the resolved configuration.
        folders: where to read and write.
        table: the collection's table; found in the data folder where not given.
        strict: stop at a tile that breaks a rule, rather than leave it out.

    Returns:
        The bundle's folder and its manifest.

    Raises:
        TrainingError: what was given cannot be trained on; before anything that takes long.
        BundleError: the exported bundle does not answer as it should.
    """
    bundle_dir = folders.models_dir / config.model_name / config.model_version
    require_no_bundle(bundle_dir)
    if config.distribute.strategy != "none":
        raise RunError(
            "A release is made by one process: distribute.strategy must be 'none'. To fit on "
            "several machines, run 'osteo-train fit' on each and 'osteo-train export' on one."
        )
    require_weights(config.network.weights, config.network.entry)
    # Weights of another network must not show only after hours of reading tiles.
    build_backbone(config.network.weights, config.network.entry, config.network.input_side_px)
    n_parameters = config.network.entry.n_parameters
    require_room(bundle_dir.parent, _BUNDLE_BYTES * n_parameters, "The bundle")
    require_room(folders.runs_dir, _RUN_BYTES * n_parameters, "A run")
    index, problems = build_index(
        folders.data_dir,
        read_table(table or find_table(folders.data_dir)),
        config.data.mixed_tiles,
        config.data.tile_side_px,
        tracked("Checking tiles"),
    )
    if strict:
        require_no_problems(problems)
    require_every_label(index.labels)
    index_sha256 = write_index(folders.runs_dir / "index.json", index)
    # All splits are made before anything is fitted: an impossible one should cost no time.
    splits = [
        make_split(index, index_sha256, kind, n_folds, config.splits.seed)
        for kind, n_folds in folds_of(config.splits).items()
    ]
    synthetic = supply_synthetic(config, index, training_parts(index, splits, whole=True))
    task = FitTask(index, index_sha256, folders.data_dir, config, synthetic)
    fitting = Fitting(task, resumable_features_dir(folders.runs_dir))
    runs = []
    for split in splits:
        split_sha256 = write_split(folders.runs_dir / f"{split.kind}.json", split)
        fitting.cross_validate(split, split_sha256, folders.runs_dir / split.kind)
        runs.append(read_cross_validation(folders.runs_dir / split.kind))
    fitting.fit_all(folders.runs_dir / "final")
    _, base, head = read_final_fit(folders.runs_dir / "final")
    tiles = TileStream(index, folders.data_dir, config.network.input_side_px)
    try:
        manifest = assemble_bundle(
            bundle_dir,
            LabelledTiles(index, index_sha256, folders.data_dir, tiles),
            (base, head),
            runs,
            config,
        )
    finally:
        remove_incomplete(bundle_dir)
    shutil.rmtree(folders.runs_dir / RESUME_DIR_NAME, ignore_errors=True)
    return bundle_dir, manifest


def folds_of(splits: SplitsConfig) -> dict[SplitKind, int]:
    """Folds of every kind of split, in the order in which they are reported."""
    return {"random": splits.random_folds, "slide": splits.slide_folds, "patient": 0}
