"""Run a nested choice: for every seed and every fold left out, choose on the rest, then answer.

Each outer fold of a seed is a line of `choices.jsonl`. Its key is the SHA-256 of all that decides
it, so a kill costs one fold, and a changed file repeats what it changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.console.progress import ERRORS, counted
from training.data.groups import Groups
from training.data.index import Index
from training.data.splits import fold_positions, make_split
from training.data.tiles import TileStream
from training.errors import RunError
from training.experiments.nested.choice import Positions, choose, thumbnails_of
from training.experiments.nested.config import Candidate, NestedConfig
from training.experiments.nested.parts import Parts
from training.features.cache import FeatureCache
from training.features.prepare import PreparedFeatures, prepare_features
from training.features.supplements import Supplements
from training.networks.graphs import weights_sha256
from training.runs.code_identity import code_sha256
from training.runs.records import class_indices_of
from training.storage.frozen_model import FrozenModel
from training.storage.journal import Journal, JournalRecord

CHOICES_NAME: Final = "choices.jsonl"
_CACHE_NAME: Final = "cache"
WHOLE: Final = "all tiles"
"""Name of the fold that leaves nothing out: its choice is the one to release."""
TODAY: Final = "today's recipe"

Kind = Literal["patient", "slide", "random", "whole"]


class CandidateScore(FrozenModel):
    """A candidate's score on the tiles of a choice; see `choice.Score`."""

    name: str
    by_case: float
    log_loss: float
    by_slide: float


class Answered(FrozenModel):
    """What every candidate answers about a tile that had no part in the choice."""

    tile: str
    case: str
    class_index: int
    is_thumbnail: bool
    predicted: tuple[int, ...]


class Choice(JournalRecord):
    """One outer fold of one seed.

    Attributes:
        kind: what is left out.
        fold: name of what is left out.
        seed: the training seed.
        chosen: position of the chosen candidate; None in a random split, where nothing is chosen.
        scores: on the tiles of the choice; empty where nothing is chosen.
        answers: of the tiles that were left out.
    """

    kind: Kind
    fold: str
    seed: int
    chosen: int | None
    scores: tuple[CandidateScore, ...]
    answers: tuple[Answered, ...]


@dataclass(frozen=True, slots=True)
class NestedTask:
    """What a nested choice works on.

    Attributes:
        nested: the candidates.
        base, today: see `NestedConfig`.
        index, index_sha256: the tiles.
        data_dir: the collection.
        supplements: thumbnails and table rows.
    """

    nested: NestedConfig
    base: TrainingConfig
    today: TrainingConfig | None
    index: Index
    index_sha256: str
    data_dir: Path
    supplements: Supplements

    @property
    def candidates(self) -> tuple[Candidate | None, ...]:
        """All candidates; None stands for today's recipe and comes first."""
        return (*((None,) if self.today else ()), *self.nested.candidates)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the candidates."""
        return tuple(TODAY if one is None else one.name for one in self.candidates)


def run_nested(task: NestedTask, out_dir: Path) -> list[Choice]:
    """Run what is not finished, and return the choices in the order of seeds and folds.

    Raises:
        TrainingError: tiles, weights or supplements cannot be used.
        RunError: slides or cases are unknown, or fewer than three cases are known.
    """
    folds = list(_outer_folds(task))
    wanted = [(seed, *fold) for seed in task.nested.seeds for fold in folds]
    decided = _decided_by(task)
    choices = []
    warn = partial(ERRORS.print, soft_wrap=True)
    with (
        Journal(out_dir / CHOICES_NAME, Choice, warn) as journal,
        counted("Choosing", len(wanted)) as advance,
    ):
        parts: Parts | None = None
        for seed, kind, name, train, test in wanted:
            key = hashlib.sha256(f"{decided} {seed} {kind} {name}".encode()).hexdigest()
            done = journal.get(key)
            if done is None:
                if parts is None or parts.config.seed != seed:
                    parts = None  # free the memory before the next features need it
                    parts = _prepare(task, seed, out_dir / _CACHE_NAME)
                done = _choose(task, parts, (key, kind, name), train, test)
                journal.append([done])
                parts.forget()
            choices.append(done)
            advance(1, f"seed {seed}, without {name}")
    return choices


def _outer_folds(task: NestedTask) -> list[tuple[Kind, str, Positions, Positions]]:
    index, everything = task.index, np.arange(len(task.index.tiles))
    if len({tile.case for tile in index.tiles}) < 3:
        raise RunError("A nested choice leaves out two cases at once; it needs at least three.")
    folds: list[tuple[Kind, str, Positions, Positions]] = [("whole", WHOLE, everything, everything)]
    splits = task.base.splits
    kinds: tuple[tuple[Literal["patient", "slide", "random"], int], ...] = (
        ("patient", 1),
        ("slide", splits.slide_folds),
        ("random", splits.random_folds),
    )
    for kind, n_folds in kinds:
        split = make_split(index, task.index_sha256, kind, n_folds, 0)
        folds += [(kind, fold.name, *fold_positions(index, fold)) for fold in split.folds]
    return folds


def _prepare(task: NestedTask, seed: int, cache_dir: Path) -> Parts:
    cache = FeatureCache.of(cache_dir, task.index)
    classes, groups = class_indices_of(task.index), Groups.of(task.index)

    def prepared(
        config: TrainingConfig, supplements: Supplements
    ) -> tuple[PreparedFeatures, TrainingConfig]:
        config = config.model_copy(update={"seed": seed})
        tiles = TileStream(task.index, task.data_dir, config.network.input_side_px)
        return prepare_features(tiles, classes, config, groups, None, cache, supplements), config

    today = None
    if task.today is not None:
        today = prepared(task.today, Supplements(task.supplements.places))
    return Parts(*prepared(task.base, task.supplements), today)


def _choose(
    task: NestedTask,
    parts: Parts,
    named: tuple[str, Kind, str],
    train: Positions,
    test: Positions,
) -> Choice:
    key, kind, name = named
    chosen: int | None = None
    scores: tuple[CandidateScore, ...] = ()
    if kind != "random":
        chosen, found = choose(parts, task.candidates, train, task.nested.min_by_slide)
        scores = tuple(
            CandidateScore(name=n, by_case=s.by_case, log_loss=s.log_loss, by_slide=s.by_slide)
            for n, s in zip(task.names, found, strict=True)
        )
    answers: list[Answered] = []
    if kind != "whole":
        shown = test
        if kind == "patient":
            everything = np.arange(parts.features.n_real)
            shown = np.concatenate([test, thumbnails_of(parts, everything, name)])
        predicted = [_predicted(parts, candidate, train, shown) for candidate in task.candidates]
        answers = _answered(task, parts, shown, predicted)
    return Choice(
        key=key,
        kind=kind,
        fold=name,
        seed=parts.config.seed,
        chosen=chosen,
        scores=scores,
        answers=tuple(answers),
    )


def _predicted(
    parts: Parts, candidate: Candidate | None, train: Positions, shown: Positions
) -> NDArray[np.int64]:
    """Class indices; -1 where today's recipe has no answer."""
    logits = parts.logits(candidate, train)[shown]
    absent = np.isnan(logits).any(axis=1)
    predicted: NDArray[np.int64] = np.where(absent, -1, np.nan_to_num(logits).argmax(axis=1))
    return predicted


def _answered(
    task: NestedTask, parts: Parts, shown: Positions, predicted: Sequence[NDArray[np.int64]]
) -> list[Answered]:
    thumbnails, n_real = task.supplements.thumbnails, parts.features.n_real
    answers = []
    for i, position in enumerate(shown.tolist()):
        is_thumbnail = position >= n_real
        if is_thumbnail and thumbnails is not None:
            name = thumbnails.names[position - n_real]
            case = str(thumbnails.places.cases[position - n_real])
        else:
            tile = task.index.tiles[position]
            name, case = tile.name, tile.case or ""
        answers.append(
            Answered(
                tile=name,
                case=case,
                class_index=int(parts.features.class_indices[position]),
                is_thumbnail=is_thumbnail,
                predicted=tuple(int(one[i]) for one in predicted),
            )
        )
    return answers


def _decided_by(task: NestedTask) -> str:
    """All that decides a choice but seed and fold."""
    configs = [task.base, task.today] if task.today else [task.base]
    weights = [weights_sha256(config.network.weights) for config in configs]
    documents = [config.model_dump_json(exclude={"model_version", "seed"}) for config in configs]
    nested = task.nested.model_dump_json(exclude={"seeds"})
    return f"{nested} {documents} {weights} {task.index_sha256} {task.supplements.digest} " + (
        code_sha256()
    )
