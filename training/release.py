"""The whole way from a folder of tiles to a checked bundle: `osteo-train release`, `make model`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.core.manifest import Manifest, SplitKind
from training.assemble import assemble_bundle, remove_incomplete
from training.config import SplitsConfig, TrainingConfig
from training.errors import RunError
from training.features import open_sources
from training.fit import Trainer
from training.gan.supply import supply_synthetic, training_parts
from training.index import build_index, require_no_problems, write_index
from training.labelled import LabelledTiles
from training.model import build_base, require_weights
from training.progress import ERRORS, tracked
from training.runs import (
    CrossValidation,
    class_indices_of,
    cross_validate,
    fit_all,
    read_cross_validation,
    write_final_fit,
    write_run,
)
from training.sampling import Groups
from training.splits import make_split, write_split
from training.stream import TileStream
from training.table import find_table, read_table


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
    resume: bool = False,
) -> tuple[Path, Manifest]:
    """Index, split three ways, cross-validate each, fit on all tiles, export, check.

    Args:
        config: the resolved configuration.
        folders: where to read and write.
        table: the collection's table; found in the data folder where not given.
        strict: stop at a tile that breaks a rule, rather than leave it out.
        resume: keep the cross-validations that a stopped release has finished, where data,
            configuration and split are the same; the code is taken to be the same, too.

    Returns:
        The bundle's folder and its manifest.

    Raises:
        TrainingError: what was given cannot be trained on; before anything that takes long.
        BundleError: the exported bundle does not answer as it should.
    """
    bundle_dir = folders.models_dir / config.model_name / config.model_version
    if bundle_dir.exists():
        raise RunError(
            f"{bundle_dir} exists, and a released bundle never changes. Raise model_version, give "
            "another --models-dir, or remove the folder first."
        )
    if config.distribute.strategy != "none":
        raise RunError(
            "A release is made by one process: distribute.strategy must be 'none'. To fit on "
            "several machines, run 'osteo-train fit' on each and 'osteo-train export' on one."
        )
    require_weights(config.network.weights, config.network.entry)
    # Weights of another network must not show only after hours of reading tiles.
    build_base(config.network.weights, config.network.entry, config.network.input_side_px)
    index, problems = build_index(
        folders.data_dir,
        read_table(table or find_table(folders.data_dir)),
        config.data.mixed_tiles,
        config.data.tile_side_px,
        tracked("Checking tiles"),
    )
    if strict:
        require_no_problems(problems)
    index_sha256 = write_index(folders.runs_dir / "index.json", index)
    # All splits are made before anything is fitted: an impossible one should cost no time.
    splits = [
        make_split(index, index_sha256, kind, n_folds, config.splits.seed)
        for kind, n_folds in folds_of(config.splits).items()
    ]
    synthetic = supply_synthetic(config, index, training_parts(index, splits, whole=True))
    tiles = TileStream(index, folders.data_dir, config.network.input_side_px)
    sources = open_sources(index, folders.data_dir, config.augment)
    trainer = Trainer(tiles, class_indices_of(index), config, Groups.of(index), sources, synthetic)
    runs = []
    for split in splits:
        split_sha256 = write_split(folders.runs_dir / f"{split.kind}.json", split)
        run_dir = folders.runs_dir / split.kind
        run = _finished(run_dir, split_sha256, config) if resume else None
        what = "Kept" if run else "Cross-validated"
        if run is None:
            run = cross_validate(trainer, index, split, split_sha256, config)
            write_run(run_dir, run)
        runs.append(run)
        ERRORS.print(f"{what} by {split.kind}: {len(split.folds)} fold(s).")
    fitted = fit_all(trainer, index, config)
    write_final_fit(folders.runs_dir / "final", fitted, index_sha256, config)
    weights = fitted.base_weights, fitted.head_weights
    try:
        manifest = assemble_bundle(
            bundle_dir,
            LabelledTiles(index, index_sha256, folders.data_dir, tiles),
            weights,
            runs,
            config,
        )
    finally:
        remove_incomplete(bundle_dir)
    return bundle_dir, manifest


def _finished(run_dir: Path, split_sha256: str, config: TrainingConfig) -> CrossValidation | None:
    """The cross-validation that lies there, if it is this one; its split names the index."""
    try:
        run = read_cross_validation(run_dir)
    except RunError:
        return None
    return run if run.split_sha256 == split_sha256 and run.config == config else None


def folds_of(splits: SplitsConfig) -> dict[SplitKind, int]:
    """Folds of every kind of split, in the order in which they are reported."""
    return {"random": splits.random_folds, "slide": splits.slide_folds, "patient": 0}
