"""Run an ablation: every recipe, by slide and by patient, over several seeds; resumable.

Each finished run is one line of `runs.jsonl`, appended and synced, with a key made of everything
that decides it: the resolved configuration, the index, the split, the weights. A run whose key is
there is not run again, so a kill costs the run it interrupted, and a changed file what changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from app.core.calibration import probabilities_from_logits
from app.core.manifest import SplitKind
from training.config import TrainingConfig
from training.console.progress import tracked
from training.data.index import Index
from training.data.labels import LABELS
from training.data.splits import Split, fold_positions, make_split
from training.data.tiles import TileStream
from training.errors import RunError
from training.evaluation.calibration import log_loss
from training.experiments.ablation.config import AblationConfig, Recipe
from training.features.extract import open_sources
from training.fit.sampling import Groups
from training.fit.trainer import Trainer, features_key
from training.networks.graphs import weights_sha256
from training.runs.records import class_indices_of
from training.storage.atomic import try_lock
from training.storage.disk import require_room

RUNS_NAME: Final = "runs.jsonl"
_RECORD_BYTES: Final = 1024
"""Of a line of it, and of its rows in the tables."""


class RunRecord(BaseModel):
    """What one run measured: one recipe, one training seed, one split, all folds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
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
) -> list[RunRecord]:
    """Do what is not done yet; the records of all runs, in the order of the recipes.

    Args:
        ablation: seeds and fold seeds.
        recipes: what to run.
        data: the index and the SHA-256 of its file.
        data_dir: what the index's files are relative to.
        out_dir: receives `runs.jsonl`; what it holds already is not run again.

    Raises:
        TrainingError: tiles, weights or splits cannot be used.
    """
    index, index_sha256 = data
    jobs = _list_jobs(ablation, recipes, index, index_sha256)
    # Runs that share features follow each other, so that each set is computed once.
    # Those that fine-tune take longest, and come last.
    jobs_by_key = {job.key: job for job in sorted(jobs, key=_order)}
    require_room(out_dir, _RECORD_BYTES * len(jobs), "The ablation")
    path = out_dir / RUNS_NAME
    trainer, features = None, ""
    with path.open("a", encoding="utf-8") as stream:
        if not try_lock(stream):
            raise RunError(f"Another process works on {path}; wait for it, or give another --out.")
        done = read_records(path)
        waiting = [job for key, job in jobs_by_key.items() if key not in done]
        for job in tracked("Running the ablation")(waiting):
            if trainer is None or features != features_key(job.config):
                trainer, features = None, features_key(job.config)  # one set of features at a time
                trainer = _make_trainer(index, data_dir, job.config)
            record = _run(trainer.reconfigured(job.config), index, job)
            stream.write(record.model_dump_json() + "\n")
            stream.flush()
            os.fsync(stream.fileno())
            done[job.key] = record
    # Names may have changed since; what was measured has not.
    return [done[job.key].model_copy(update={"recipe": job.recipe}) for job in jobs]


def read_records(path: Path) -> dict[str, RunRecord]:
    """Finished runs by key; a line that a kill cut short is no run, and is ended for the next."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("ab") as stream:
            stream.write(b"\n")
    records = {}
    for line in content.splitlines():
        try:
            record = RunRecord.model_validate_json(line)
        except ValidationError:
            continue
        records[record.key] = record
    return records


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


def _make_trainer(index: Index, data_dir: Path, config: TrainingConfig) -> Trainer:
    tiles = TileStream(index, data_dir, config.network.input_side_px)
    sources = open_sources(index, data_dir, config.augment)
    return Trainer(tiles, class_indices_of(index), config, Groups.of(index), sources)


def _run(trainer: Trainer, index: Index, job: _Job) -> RunRecord:
    truth = class_indices_of(index)
    logits = np.full((len(truth), len(LABELS)), np.nan)
    for fold in job.split.folds:
        train, test = fold_positions(index, fold)
        logits[test] = trainer.fit(train, test, job.config.seed).test_logits
    right = logits.argmax(axis=1) == truth
    cases = [tile.case for tile in index.tiles]
    return RunRecord(
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
