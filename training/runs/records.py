"""Run directories: what `fit` writes for `evaluate`, `temperature` and `export`.

`run.json` holds the configuration, the history and, for a cross-validation, all out-of-fold
predictions; `weights.npz` holds the weights of a fit on all tiles, and `tensorboard/` the learning
curves once more.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args
from zipfile import BadZipFile

import numpy as np
from pydantic import ValidationError

from app.core.manifest import SplitKind
from training.config import TrainingConfig
from training.data.index import Index
from training.data.label_set import LabelSet
from training.data.labels import require_every_label
from training.data.tile_source import COLLECTION_LAYOUTS
from training.errors import RunError
from training.networks.graphs import Weights
from training.networks.table_systems import find_table_system
from training.runs.identity import RunIdentity
from training.storage.atomic import write_whole
from training.storage.disk import writing
from training.storage.event_files import CURVES_NAME, write_curves
from training.storage.frozen_model import FrozenModel, write_json

ALL_TILES: Final = "all tiles"
RUN_NAME: Final = "run.json"
WEIGHTS_NAME: Final = "weights.npz"
METRICS_NAME: Final = "metrics.json"
PLOT_NAMES: Final = ("confusion.png", "epochs.png", "reliability.png")
RUN_FILES: Final = (RUN_NAME, METRICS_NAME, *PLOT_NAMES, WEIGHTS_NAME, CURVES_NAME)
"""Everything that `fit` and `evaluate` write into a run's folder, the record first."""


Run = TypeVar("Run", bound=FrozenModel)


class Answer(FrozenModel):
    """The out-of-fold prediction for a tile; logits before temperature.

    `distance` is the distance of the tile's embedding from those of the training tiles, all by the
    model of the fold. `slide` is None if it is unknown.
    """

    tile: str
    slide: str | None
    fold: str
    label: str
    logits: tuple[float, ...]
    distance: float | None = None


class FoldResult(FrozenModel):
    """The result of one fold of a cross-validation."""

    answers: tuple[Answer, ...]
    history: tuple[dict[str, Any], ...]


class CrossValidation(FrozenModel):
    """All out-of-fold predictions over one split, in the order of the folds."""

    schema_version: Literal[1] = 1
    kind: SplitKind
    split_sha256: str
    index_sha256: str
    config: TrainingConfig
    answers: tuple[Answer, ...]
    history: dict[str, tuple[dict[str, Any], ...]]
    identity: RunIdentity | None = None

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds, in order."""
        return tuple(self.history)

    @property
    def curves(self) -> Mapping[str, tuple[dict[str, Any], ...]]:
        """The history of each fold."""
        return self.history

    @property
    def n_correct(self) -> int:
        """Number of tiles whose largest logit is that of their label."""
        ids = self.config.labels.ids
        answered = (ids[answer.logits.index(max(answer.logits))] for answer in self.answers)
        return sum(a.label == b for a, b in zip(self.answers, answered, strict=True))

    @property
    def knows_slides(self) -> bool:
        """Whether the slide of every tile is known."""
        return all(answer.slide is not None for answer in self.answers)


class FinalFit(FrozenModel):
    """A fit on all tiles, which can be released; `weights.npz` holds its weights."""

    schema_version: Literal[1] = 1
    index_sha256: str
    config: TrainingConfig
    history: tuple[dict[str, Any], ...]
    identity: RunIdentity | None = None

    @property
    def curves(self) -> Mapping[str, tuple[dict[str, Any], ...]]:
        """The history, under the name that stands for all tiles."""
        return {ALL_TILES: self.history}


def class_indices_of(index: Index) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Position of each tile's label among the labels of the index, int64 `[n]`."""
    ids = index.label_set.ids
    return np.array([ids.index(label) for label in index.labels], dtype=np.int64)


def require_same_labels(index: Index, labels: LabelSet) -> None:
    """Reject an index whose labels are others than those of a configuration.

    Raises:
        RunError: ids, their order, or what counts as tumour differ.
    """
    listed, wanted = (
        ", ".join(f"{label.id}{' (tumour)' if label.tumor else ''}" for label in found.root)
        for found in (index.label_set, labels)
    )
    if listed != wanted:
        raise RunError(
            f"The index has the labels {listed}, but [labels] of the configuration has {wanted}. "
            "Make the index again with this --config, or correct the configuration."
        )


def require_trainable(index: Index, config: TrainingConfig) -> None:
    """Reject an index that a configuration cannot be fitted on, before any slow step.

    Raises:
        RunError: the system does not read what the index lists, they have different labels, count
            mixed tiles differently, or the configuration needs slides or cases that the index
            lacks.
        DataError: a label has too few tiles.
    """
    _require_readable(index, config)
    require_same_labels(index, config.labels)
    require_every_label(index.labels, config.labels)
    balance = config.sampling.balance
    lacks = {"slide": not index.knows_slides, "case": not index.knows_cases}
    for group, is_unknown in lacks.items():
        if group in balance.split("_") and is_unknown:
            raise RunError(
                f"sampling.balance = {balance!r} needs the {group} of every tile, which the index "
                f"lacks. Set it to 'label', or add a column {group!r} to the table."
            )
    if index.layout in COLLECTION_LAYOUTS and index.mixed_tiles != config.data.mixed_tiles:
        raise RunError(
            f"The index counts mixed tiles as {index.mixed_tiles!r}, but the configuration says "
            f"data.mixed_tiles = {config.data.mixed_tiles!r}. Change one of them."
        )


def _require_readable(index: Index, config: TrainingConfig) -> None:
    system, is_table = config.network.system, index.layout == "features"
    if is_table == (find_table_system(system) is not None):
        return
    has, needs = ("a feature table", "pixels") if is_table else ("pixels", "a feature table")
    raise RunError(
        f"The index lists tiles of {has}, but {system!r} reads {needs}. Make the index again with "
        "this --config."
    )


def write_run(run_dir: Path, run: CrossValidation | FinalFit) -> None:
    """Write the learning curves, then `run.json` atomically; create the folder if it is missing.

    Raises:
        RunError: the disk is full or cannot be written.
    """
    with writing(run_dir):
        write_curves(run_dir, run.curves)
        write_json(run_dir / RUN_NAME, run)


def find_cross_validation(run_dir: Path, identity: RunIdentity) -> CrossValidation | None:
    """The finished cross-validation in this folder, if it has this identity."""
    try:
        run = read_cross_validation(run_dir)
    except RunError:
        return None
    return run if run.identity == identity else None


def find_final_fit(run_dir: Path, identity: RunIdentity) -> FinalFit | None:
    """The finished fit on all tiles in this folder, if it has this identity."""
    try:
        run, _, _ = read_final_fit(run_dir)
    except RunError:
        return None
    return run if run.identity == identity else None


def read_cross_validation(run_dir: Path) -> CrossValidation:
    """Read a cross-validation.

    Raises:
        RunError: the folder has none.
    """
    return _read(run_dir, CrossValidation, "a cross-validation (osteo-train fit --split SPLIT)")


def read_split_kinds(run_dir: Path) -> list[CrossValidation]:
    """Read a run and the matching runs over the other kinds of split.

    They are in the folders `random`, `slide` and `patient` next to the run, and match if their
    index and configuration are the same.

    Raises:
        RunError: the folder has no cross-validation.
    """
    run = read_cross_validation(run_dir)
    runs = {run.kind: run}
    for kind in get_args(SplitKind):
        beside = run_dir.absolute().parent / kind
        if kind == run.kind or not (beside / RUN_NAME).exists():
            continue
        other = read_cross_validation(beside)
        same = other.index_sha256 == run.index_sha256 and other.config == run.config
        if same and other.kind == kind:
            runs[kind] = other
    return list(runs.values())


def read_final_fit(run_dir: Path) -> tuple[FinalFit, Weights, Weights]:
    """Read a fit on all tiles.

    Returns:
        The record, the weights of the backbone and those of the head.

    Raises:
        RunError: the folder has none.
    """
    run = _read(run_dir, FinalFit, "a fit on all tiles (osteo-train fit without --split)")
    try:
        with np.load(run_dir / WEIGHTS_NAME) as arrays:
            backbone = [arrays[name] for name in sorted(arrays) if name.startswith("base")]
            head = [arrays[name] for name in sorted(arrays) if name.startswith("head")]
    except (OSError, EOFError, ValueError, BadZipFile, zlib.error) as error:
        raise RunError(f"{run_dir / WEIGHTS_NAME} is missing or damaged. Fit again.") from error
    return run, backbone, head


def write_final_fit(run_dir: Path, run: FinalFit, backbone: Weights, head: Weights) -> None:
    """Write `weights.npz`, then `run.json`, whose presence says that both are complete.

    Raises:
        RunError: the disk is full or cannot be written.
    """
    arrays = {f"base_{i:04}": array for i, array in enumerate(backbone)}
    arrays |= {f"head_{i:04}": array for i, array in enumerate(head)}
    with writing(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / RUN_NAME).unlink(missing_ok=True)  # an older record describes other weights
        write_whole(run_dir / WEIGHTS_NAME, lambda out: np.savez(out, **arrays))  # type: ignore[arg-type] # the stub wants bool
    write_run(run_dir, run)


def _read(run_dir: Path, kind: type[Run], what: str) -> Run:
    path = run_dir / RUN_NAME
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}. Expected {what}.") from error
    except ValidationError as error:
        raise RunError(f"{path} is not {what}.") from error
