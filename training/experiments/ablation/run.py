"""Run an ablation: every recipe, by slide and by patient, over several seeds.

Each finished run is a line of the journal `runs.jsonl`. Its key is the SHA-256 of the resolved
configuration, the split (which names its index) and the weights. A run in the journal is not
repeated, so a kill costs the current run only, and a changed recipe repeats only its own runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from app.core.calibration import probabilities_from_logits
from app.core.manifest import SplitKind
from training.config import TrainingConfig
from training.console.progress import ERRORS, Advance, counted
from training.data.groups import Groups
from training.data.index import Index
from training.data.splits import Split, fold_positions, make_split
from training.data.tiles import TileStream
from training.evaluation.calibration import log_loss
from training.experiments.ablation.config import AblationConfig, Recipe
from training.features.prepare import PreparedFeatures, features_key, prepare_features
from training.fit.classifier import count_epochs, fit_classifier
from training.networks.graphs import weights_sha256
from training.runs.records import class_indices_of
from training.storage.disk import require_room
from training.storage.journal import Journal, JournalRecord

RUNS_NAME: Final = "runs.jsonl"
_RECORD_BYTES: Final = 1024
"""Largest size of a run's line in the journal and its rows in the tables."""


class AblationRecord(JournalRecord):
    """Measurements of one run: one recipe, one training seed, one split, all folds."""

    recipe: str
    split: SplitKind
    fold_seed: int | None
    seed: int
    n_tiles: int
    n_right: int
    log_loss: float
    tiles_by_case: dict[str, int]
    right_by_case: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Job:
    recipe: str
    config: TrainingConfig
    split: Split
    key: str


def run_ablation(
    ablation: AblationConfig,
    recipes: Sequence[Recipe],
    data: tuple[Index, str],
    data_dir: Path,
    out_dir: Path,
) -> list[AblationRecord]:
    """Run what is not finished, and return the records of all runs in the order of the recipes.

    Args:
        ablation: seeds and fold seeds.
        recipes: what to run.
        data: the index and the SHA-256 of its file.
        data_dir: the collection.
        out_dir: folder of `runs.jsonl`.

    Raises:
        TrainingError: tiles, weights or splits cannot be used.
    """
    index, index_sha256 = data
    jobs = _list_jobs(ablation, recipes, index, index_sha256)
    # Runs that share features follow each other, so that each set is computed once. Those that
    # fine-tune take longest and come last.
    jobs_by_key = {job.key: job for job in sorted(jobs, key=_order)}
    require_room(out_dir, _RECORD_BYTES * len(jobs), "The ablation")
    features = None
    warn = partial(ERRORS.print, soft_wrap=True)
    with Journal(out_dir / RUNS_NAME, AblationRecord, warn) as journal:
        done = {key: record for key in jobs_by_key if (record := journal.get(key))}
        waiting = [job for key, job in jobs_by_key.items() if key not in done]
        with counted("Running the ablation", len(waiting)) as advance:
            for job in waiting:
                if features is None or features.key != features_key(job.config):
                    features = None  # free the memory before the next features need it
                    features = _prepare_features(index, data_dir, job.config)
                done[job.key] = _run(features, index, job, advance)
                journal.append([done[job.key]])
    # A recipe may have been renamed since it was measured.
    return [done[job.key].model_copy(update={"recipe": job.recipe}) for job in jobs]


def _list_jobs(
    ablation: AblationConfig, recipes: Sequence[Recipe], index: Index, index_sha256: str
) -> list[_Job]:
    n_folds = {recipe.config.splits.slide_folds for recipe in recipes}
    splits_by_folds = {
        count: [
            *(make_split(index, index_sha256, "slide", count, s) for s in ablation.fold_seeds),
            make_split(index, index_sha256, "patient"),
        ]
        for count in n_folds
    }
    sha256_by_weights = {
        name: weights_sha256(name) or name
        for name in {recipe.config.network.weights for recipe in recipes}
    }
    jobs = []
    for recipe in recipes:
        for split in splits_by_folds[recipe.config.splits.slide_folds]:
            for seed in ablation.seeds:
                config = recipe.config.model_copy(update={"seed": seed})
                weights = sha256_by_weights[config.network.weights]
                jobs.append(_Job(recipe.name, config, split, _key(config, weights, split)))
    return jobs


def _key(config: TrainingConfig, weights: str, split: Split) -> str:
    document = config.model_dump(mode="json", exclude={"model_name", "model_version", "splits"})
    document["network"]["weights"] = weights
    decided = {"config": document, "split": split.model_dump(mode="json")}
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()


def _order(job: _Job) -> tuple[bool, str]:
    return job.config.fine_tune.epochs > 0, features_key(job.config)


def _prepare_features(index: Index, data_dir: Path, config: TrainingConfig) -> PreparedFeatures:
    tiles = TileStream(index, data_dir, config.network.input_side_px)
    return prepare_features(tiles, class_indices_of(index), config, Groups.of(index))


def _run(features: PreparedFeatures, index: Index, job: _Job, advance: Advance) -> AblationRecord:
    truth = class_indices_of(index)
    logits = np.full((len(truth), len(job.config.labels)), np.nan)
    share = 1 / (len(job.split.folds) * count_epochs(job.config))  # of this run, in an epoch
    for fold in job.split.folds:
        train, test = fold_positions(index, fold)
        fitted = fit_classifier(
            features,
            job.config,
            train,
            test,
            job.config.seed,
            on_epoch=lambda _: advance(share, job.recipe),
        )
        logits[test] = fitted.test_logits
    right = logits.argmax(axis=1) == truth
    cases = [tile.case or "unknown" for tile in index.tiles]
    return AblationRecord(
        key=job.key,
        recipe=job.recipe,
        split=job.split.kind,
        fold_seed=job.split.seed,
        seed=job.config.seed,
        n_tiles=len(truth),
        n_right=int(right.sum()),
        log_loss=log_loss(probabilities_from_logits(logits, 1.0), truth),
        tiles_by_case=_count(cases),
        right_by_case=dict.fromkeys(sorted(set(cases)), 0)
        | _count(case for case, hit in zip(cases, right, strict=True) if hit),
    )


def _count(names: Iterable[str]) -> dict[str, int]:
    found = list(names)
    return {name: found.count(name) for name in sorted(set(found))}
