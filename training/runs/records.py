"""Run directories: what `fit` leaves for `evaluate`, `calibrate` and `export`.

`run.json` holds the configuration, the history and, for a cross-validation, every out-of-fold
answer; `weights.npz` holds the weights of a fit on all tiles.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args
from zipfile import BadZipFile

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from app.core.manifest import SplitKind
from training.config import TrainingConfig
from training.data.index import Index
from training.data.labels import LABEL_IDS
from training.errors import RunError
from training.networks.graphs import Weights
from training.runs.identity import RunIdentity
from training.storage.atomic import write_whole
from training.storage.disk import unwritable

RUN_NAME: Final = "run.json"
WEIGHTS_NAME: Final = "weights.npz"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


Run = TypeVar("Run", bound=_Record)


class Answer(_Record):
    """What a model that never saw the tile's group answered; logits before temperature.

    `distance` is that of the embedding from the tiles the model was trained on, both by that model.
    """

    tile: str
    slide: str
    fold: str
    label: str
    logits: tuple[float, ...]
    distance: float | None = None


class FoldResult(_Record):
    """What one fold of a cross-validation left."""

    answers: tuple[Answer, ...]
    history: tuple[dict[str, Any], ...]


class CrossValidation(_Record):
    """All answers over one split; tested tiles appear in the order of the folds."""

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
    def n_right(self) -> int:
        """Tiles whose largest logit is that of their label."""
        answered = (LABEL_IDS[answer.logits.index(max(answer.logits))] for answer in self.answers)
        return sum(a.label == b for a, b in zip(self.answers, answered, strict=True))


class FinalFit(_Record):
    """A fit on all tiles, which is what is released; its weights lie beside it."""

    schema_version: Literal[1] = 1
    index_sha256: str
    config: TrainingConfig
    history: tuple[dict[str, Any], ...]
    identity: RunIdentity | None = None


def class_indices_of(index: Index) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Position in `LABELS` of every tile's label, int64 `[n]`."""
    return np.array([LABEL_IDS.index(label) for label in index.labels], dtype=np.int64)


def require_same_labels(index: Index, config: TrainingConfig) -> None:
    """An index made with another mixed-tile setting would put another table behind the numbers.

    Raises:
        RunError: index and configuration disagree.
    """
    if index.mixed_tiles != config.data.mixed_tiles:
        raise RunError(
            f"The index counts mixed tiles as {index.mixed_tiles!r}, the configuration says "
            f"data.mixed_tiles = {config.data.mixed_tiles!r}. Make one agree with the other."
        )


def write_run(run_dir: Path, run: CrossValidation | FinalFit) -> None:
    """Write `run.json`, whole; the folder is made where it is missing.

    Raises:
        RunError: the disk is full or cannot be written.
    """
    content = run.model_dump_json(indent=1).encode() + b"\n"
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_whole(run_dir / RUN_NAME, lambda out: out.write(content))
    except OSError as error:
        raise RunError(unwritable(run_dir, error)) from error


def find_cross_validation(run_dir: Path, identity: RunIdentity) -> CrossValidation | None:
    """The finished cross-validation that lies there, if it is this one."""
    try:
        run = read_cross_validation(run_dir)
    except RunError:
        return None
    return run if run.identity == identity else None


def find_final_fit(run_dir: Path, identity: RunIdentity) -> FinalFit | None:
    """The finished fit on all tiles that lies there with its weights, if it is this one."""
    try:
        run, _, _ = read_final_fit(run_dir)
    except RunError:
        return None
    return run if run.identity == identity else None


def read_cross_validation(run_dir: Path) -> CrossValidation:
    """Read a cross-validation.

    Raises:
        RunError: the folder holds none.
    """
    return _read(run_dir, CrossValidation, "a cross-validation (osteo-train fit --split SPLIT)")


def read_split_kinds(run_dir: Path) -> list[CrossValidation]:
    """A run and those over the other kinds of split that belong to it, in folders of those names.

    They belong together where index and configuration are the same.

    Raises:
        RunError: the folder holds no cross-validation.
    """
    run = read_cross_validation(run_dir)
    levels = {run.kind: run}
    for kind in get_args(SplitKind):
        beside = run_dir.absolute().parent / kind
        if kind == run.kind or not (beside / RUN_NAME).exists():
            continue
        other = read_cross_validation(beside)
        same = other.index_sha256 == run.index_sha256 and other.config == run.config
        if same and other.kind == kind:
            levels[kind] = other
    return list(levels.values())


def read_final_fit(run_dir: Path) -> tuple[FinalFit, Weights, Weights]:
    """Read a fit on all tiles.

    Returns:
        The record, the base network's weights and the head's.

    Raises:
        RunError: the folder holds none.
    """
    run = _read(run_dir, FinalFit, "a fit on all tiles (osteo-train fit without --split)")
    try:
        with np.load(run_dir / WEIGHTS_NAME) as arrays:
            base = [arrays[name] for name in sorted(arrays) if name.startswith("base")]
            head = [arrays[name] for name in sorted(arrays) if name.startswith("head")]
    except (OSError, EOFError, ValueError, BadZipFile, zlib.error) as error:
        raise RunError(f"{run_dir / WEIGHTS_NAME} is missing or damaged. Fit again.") from error
    return run, base, head


def write_final_fit(run_dir: Path, run: FinalFit, base: Weights, head: Weights) -> None:
    """Write `weights.npz`, then `run.json`, which says that both are there.

    Raises:
        RunError: the disk is full or cannot be written.
    """
    arrays = {f"base_{i:04}": array for i, array in enumerate(base)}
    arrays |= {f"head_{i:04}": array for i, array in enumerate(head)}
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / RUN_NAME).unlink(missing_ok=True)  # an older record would be of other weights
        write_whole(run_dir / WEIGHTS_NAME, lambda out: np.savez(out, **arrays))  # type: ignore[arg-type]  # the stub takes bool too
    except OSError as error:
        raise RunError(unwritable(run_dir, error)) from error
    write_run(run_dir, run)


def _read(run_dir: Path, kind: type[Run], what: str) -> Run:
    path = run_dir / RUN_NAME
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}. Expected {what}.") from error
    except ValidationError as error:
        raise RunError(f"{path} is not {what}.") from error
