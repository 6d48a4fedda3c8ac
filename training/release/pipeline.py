"""Release a bundle from a folder of tiles: `osteo-train release`, `make model`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.core.manifest import Manifest, SplitKind
from training.config import TrainingConfig
from training.console.progress import tracked
from training.data.index import IndexRules, index_tiles
from training.data.index_checks import require_no_problems, require_tiles
from training.data.labelled_tiles import LabelledTiles
from training.data.layouts import LayoutChoice, open_source
from training.data.splits import make_split, possible_kinds
from training.data.tiles import TileStream
from training.errors import RunError
from training.evaluation.calibration import calibrating_kind
from training.evaluation.nested_answers import read_nested_answers
from training.features.supplements import read_supplements
from training.gan.supply import supply_synthetic, training_parts
from training.networks.graphs import build_backbone, require_weights
from training.release.assembly import assemble_bundle
from training.release.bundle import require_no_bundle
from training.runs.cross_validation import FitTask, Fitting
from training.runs.records import read_cross_validation, read_final_fit, require_trainable
from training.runs.resume import RESUME_DIR_NAME, resumable_features_dir
from training.storage.disk import require_room
from training.storage.frozen_model import write_json

_BUNDLE_BYTES: Final = 12
"""Bytes a parameter: 4 in the SavedModel, 4 in LiteRT, 1 in int8; the rest for plots and tiles."""
_RUN_BYTES: Final = 16
"""Bytes a parameter: the weight, two moments of the optimizer, the running average."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Folders of a release.

    Attributes:
        data_dir: the collection.
        runs_dir: receives index, splits, predictions and weights.
        models_dir: receives `NAME/VERSION/`.
    """

    data_dir: Path
    runs_dir: Path
    models_dir: Path


def release_bundle(
    config: TrainingConfig,
    folders: Folders,
    table: Path | None = None,
    layout: LayoutChoice = "auto",
    strict: bool = True,
    nested_answers: Path | None = None,
) -> tuple[Path, Manifest]:
    """Index, split three ways, cross-validate each split, fit on all tiles, export and check.

    The kinds of split that need unknown slides or cases are left out. Finished steps of a stopped
    release are reused from `runs_dir`.

    Args:
        config: the resolved configuration.
        folders: where to read and write.
        table: the table; if None, it is searched in the data folder.
        layout: how the data folder names its tiles.
        strict: stop at a tile that breaks a rule instead of leaving it out.
        nested_answers: the answers of a nested choice on these tiles, for the card.

    Returns:
        The bundle's folder and its manifest.

    Raises:
        TrainingError: the input cannot be trained on; raised before any slow step.
        BundleError: the exported bundle fails its check.
    """
    bundle_dir = folders.models_dir / config.model_name / config.model_version
    _require_releasable(config, folders, bundle_dir)
    source = open_source(folders.data_dir, config.labels, layout, table)
    rules = IndexRules(config.labels, config.data.mixed_tiles, config.data.tile_side_px)
    index, problems = index_tiles(source, folders.data_dir, rules, tracked("Checking tiles"))
    if strict:
        require_no_problems(problems, config.labels, index.labels)
    require_tiles(index, problems)
    require_trainable(index, config)
    nested = None
    if nested_answers is not None:
        nested = read_nested_answers(nested_answers, index, config.labels)
    supplements = read_supplements(config, index, folders.data_dir)
    index_sha256 = write_json(folders.runs_dir / "index.json", index)
    # Make all splits before the first fit, so that an impossible split fails early.
    n_folds_of: dict[SplitKind, int] = {  # in the order of the reports; `patient`: one a case
        "random": config.splits.random_folds,
        "slide": config.splits.slide_folds,
        "patient": 0,
    }
    if calibrating_kind(index) == "random" and config.splits.random_folds < 2:
        raise RunError(
            "Slides are unknown, so the temperature is fitted on the random split. It needs at "
            "least 2 folds: set splits.random_folds in the configuration."
        )
    splits = [
        make_split(index, index_sha256, kind, n_folds_of[kind], config.splits.seed)
        for kind in possible_kinds(index)
    ]
    synthetic = supply_synthetic(config, index, training_parts(index, splits, whole=True))
    task = FitTask(index, index_sha256, folders.data_dir, config, synthetic, supplements)
    fitting = Fitting(task, resumable_features_dir(folders.runs_dir))
    runs = []
    for split in splits:
        split_sha256 = write_json(folders.runs_dir / f"{split.kind}.json", split)
        fitting.cross_validate(split, split_sha256, folders.runs_dir / split.kind)
        runs.append(read_cross_validation(folders.runs_dir / split.kind))
    fitting.fit_all(folders.runs_dir / "final")
    _, backbone_weights, head_weights = read_final_fit(folders.runs_dir / "final")
    tiles = TileStream(index, folders.data_dir, config.network.input_side_px)
    labelled = LabelledTiles(index, index_sha256, folders.data_dir, tiles)
    weights = backbone_weights, head_weights
    manifest = assemble_bundle(bundle_dir, labelled, weights, runs, config, supplements, nested)
    shutil.rmtree(folders.runs_dir / RESUME_DIR_NAME, ignore_errors=True)
    return bundle_dir, manifest


def _require_releasable(config: TrainingConfig, folders: Folders, bundle_dir: Path) -> None:
    """Fail before any slow step."""
    require_no_bundle(bundle_dir)
    if config.distribute.strategy != "none":
        raise RunError(
            "A release runs in one process: distribute.strategy must be 'none'. To fit on several "
            "machines, run 'osteo-train fit' on each and 'osteo-train export' on one."
        )
    network = config.network
    require_weights(network.weights, network.entry)
    # Fails if the file holds the weights of another network.
    build_backbone(network.weights, network.entry, network.backbone_side_px)
    require_room(bundle_dir.parent, _BUNDLE_BYTES * network.entry.n_parameters, "The bundle")
    require_room(folders.runs_dir, _RUN_BYTES * network.entry.n_parameters, "A run")
