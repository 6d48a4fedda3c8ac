"""The answers of a nested choice (`osteo-train nested`): the file, and how often it is right.

A recipe that was chosen among others looks better on the cases that it was chosen on than on a new
one. In a nested choice, the recipe is chosen anew without a case and answers it once.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Final, Literal, get_args

from training.data.index import Index
from training.data.label_set import LabelSet
from training.errors import DataError

COLUMNS: Final = ("seed", "left_out", "fold", "tile", "thumbnail", "label", "predicted")
"""`left_out` is `patient` or `slide`, `thumbnail` 0 or 1; `label` and `predicted` are positions."""

LeftOut = Literal["patient", "slide"]


@dataclass(frozen=True, slots=True)
class NestedSplit:
    """The answers about tiles of one kind of split.

    Attributes:
        n_tiles: tiles that are answered, once for each seed.
        n_correct: correct answers of each seed, ascending.
        macro_f1: mean over the seeds, in [0, 1].
    """

    n_tiles: int
    n_correct: tuple[int, ...]
    macro_f1: float


@dataclass(frozen=True, slots=True)
class NestedResult:
    """How often the nested choice is right on the tiles of an index; thumbnails do not count.

    Attributes:
        seeds: number of training seeds.
        patient: a case is left out; its recipe is chosen on the others.
        slide: a group of slides is left out; None if the file has no such answers.
    """

    seeds: int
    patient: NestedSplit
    slide: NestedSplit | None


@dataclass(frozen=True, slots=True)
class _Answer:
    line: int
    seed: str
    left_out: str
    tile: str
    truth: int
    predicted: int


def read_nested_answers(path: Path, index: Index, labels: LabelSet) -> NestedResult:
    """Read `answers.csv` of a nested choice, and check that it is about these tiles.

    Args:
        path: the file that `osteo-train nested` wrote.
        index: the tiles that the released model learns from.
        labels: the labels, in the order of the model.

    Raises:
        DataError: the file cannot be read; a seed does not answer every tile of the index exactly
            once with a case left out; or a label is not that of the index.
    """
    truth = {
        tile.name: labels.ids.index(label)
        for tile, label in zip(index.tiles, index.labels, strict=True)
    }
    answers = list(_read(path, len(labels)))
    for answer in answers:
        if truth.get(answer.tile) != answer.truth:
            raise DataError(
                f"{path}, line {answer.line}: the index has no tile {answer.tile!r} with label "
                f"{answer.truth}. Run 'osteo-train nested' with the same index."
            )
    seeds = sorted({answer.seed for answer in answers})
    patient, slide = (_split(path, answers, seeds, kind, len(truth)) for kind in get_args(LeftOut))
    if patient is None:
        raise DataError(f"{path} has no answer of a case that was left out.")
    return NestedResult(len(seeds), patient, slide)


def macro_f1(truth: Sequence[int], predicted: Sequence[int]) -> float:
    """Mean F1 of the labels that occur, in [0, 1]; 0 if there are no answers."""
    from sklearn.metrics import f1_score

    if not truth:
        return 0.0
    return float(f1_score(truth, predicted, average="macro", zero_division=0.0))


def _read(path: Path, n_labels: int) -> Iterator[_Answer]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                raise DataError(
                    f"{path} does not have the columns {', '.join(COLUMNS)}. Name the answers.csv "
                    "that 'osteo-train nested' wrote."
                )
            for row in rows:
                if row["thumbnail"] != "1":
                    yield _answer(path, rows.line_num, row, n_labels)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _answer(path: Path, line: int, row: dict[str, str], n_labels: int) -> _Answer:
    positions = [row["label"], row["predicted"]]
    if any(text not in map(str, range(n_labels)) for text in positions):
        raise DataError(
            f"{path}, line {line}: label and predicted are {' and '.join(map(repr, positions))}; "
            f"each must be one of 0 to {n_labels - 1}."
        )
    truth, predicted = map(int, positions)
    return _Answer(line, row["seed"], row["left_out"], row["tile"], truth, predicted)


def _split(
    path: Path, answers: Sequence[_Answer], seeds: Sequence[str], kind: str, n_tiles: int
) -> NestedSplit | None:
    of_kind = [answer for answer in answers if answer.left_out == kind]
    if not of_kind:
        return None
    n_correct, f1 = [], []
    for seed in seeds:
        of_seed = [answer for answer in of_kind if answer.seed == seed]
        if sorted({a.tile for a in of_seed}) != sorted(a.tile for a in of_seed) or (
            len(of_seed) != n_tiles
        ):
            raise DataError(
                f"{path}: seed {seed} has {len(of_seed)} answers by {kind} for {n_tiles} tiles of "
                "the index; it must answer each tile once. Let 'osteo-train nested' finish."
            )
        n_correct.append(sum(answer.truth == answer.predicted for answer in of_seed))
        f1.append(macro_f1([a.truth for a in of_seed], [a.predicted for a in of_seed]))
    return NestedSplit(n_tiles, tuple(sorted(n_correct)), mean(f1))
