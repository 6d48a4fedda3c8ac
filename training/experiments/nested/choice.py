"""Choose a candidate on some tiles, by leaving their cases and their slides out in turn.

The rule is in docs/unseen-patients.md: the best by case of those that reach an accuracy by slide;
if none does, of those within one tile of the best by slide. Ties go to the lower log loss by case,
then to the candidate that is listed first.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from training.data.places import Places
from training.evaluation.calibration import log_loss
from training.experiments.nested.config import Candidate
from training.experiments.nested.parts import Logits, Parts

_SLIDE_FOLDS: Final = 5
_FOLD_SEED: Final = 0

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Score:
    """How a candidate does on the tiles of the choice.

    Attributes:
        by_case: share of correct answers on tiles and thumbnails of left-out cases.
        log_loss: of the same tiles, without thumbnails; nats, at temperature 1.
        by_slide: share of correct answers on tiles of left-out slides.
        one_tile: the share of one tile by slide.
    """

    by_case: float
    log_loss: float
    by_slide: float
    one_tile: float


def choose(
    parts: Parts,
    candidates: Sequence[Candidate | None],
    tiles: Positions,
    min_by_slide: float,
) -> tuple[int, list[Score]]:
    """Choose on some tiles of the index; no other tile, thumbnail or row has a part in it.

    Args:
        parts: fits the candidates.
        candidates: None stands for today's recipe.
        tiles: positions in the index, int64 `[n]`.
        min_by_slide: accuracy by slide that a chosen recipe needs.

    Returns:
        The position of the chosen candidate, and the scores of all.
    """
    by_case = list(_by_case(parts, tiles))
    by_slide = list(_by_slide(parts, tiles))
    scores = [_score(parts, candidate, by_case, by_slide) for candidate in candidates]
    return best_of(scores, min_by_slide), scores


def best_of(scores: Sequence[Score], min_by_slide: float) -> int:
    """Position of the score that the rule prefers."""
    enough = min(min_by_slide, max(score.by_slide - score.one_tile for score in scores))
    allowed = [i for i, score in enumerate(scores) if score.by_slide >= enough - 1e-9]
    return min(allowed, key=lambda i: (-scores[i].by_case, scores[i].log_loss, i))


def thumbnails_of(parts: Parts, tiles: Positions, case: str) -> Positions:
    """Positions, behind those of the index, of a case's thumbnails that the tiles may know."""
    supplements, n_real = parts.features.supplements, parts.features.n_real
    if supplements.thumbnails is None or supplements.places is None:
        return np.array([], dtype=np.int64)
    places = supplements.thumbnails.places
    known = places.may_teach(supplements.places, tiles)
    positions: Positions = n_real + np.flatnonzero(known & (places.cases == case))
    return positions


Fold = tuple[Positions, Positions, Positions]
"""Positions of training tiles, of test tiles, and of tested thumbnails."""


def _by_case(parts: Parts, tiles: Positions) -> Iterator[Fold]:
    cases = _places(parts).cases[tiles]
    for case in np.unique(cases):
        thumbnails = thumbnails_of(parts, tiles, str(case))
        yield tiles[cases != case], tiles[cases == case], thumbnails


def _by_slide(parts: Parts, tiles: Positions) -> Iterator[Fold]:
    from sklearn.model_selection import StratifiedGroupKFold

    classes, slides = parts.features.class_indices[tiles], _places(parts).slides[tiles]
    most = int(np.bincount(classes).max())
    n_folds = min(_SLIDE_FOLDS, len(np.unique(slides)), most)
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=_FOLD_SEED)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for train, test in folds.split(tiles, classes, slides):
            yield tiles[train], tiles[test], np.array([], dtype=np.int64)


def _score(
    parts: Parts, candidate: Candidate | None, by_case: list[Fold], by_slide: list[Fold]
) -> Score:
    right, loss = _answers(parts, candidate, by_case)
    of_slides, _ = _answers(parts, candidate, by_slide)
    return Score(float(right.mean()), loss, float(of_slides.mean()), 1 / len(of_slides))


def _answers(
    parts: Parts, candidate: Candidate | None, folds: list[Fold]
) -> tuple[NDArray[np.bool_], float]:
    """Which answers are correct, and the log loss of the tiles."""
    truth = parts.features.class_indices
    right: list[NDArray[np.bool_]] = []
    tested: list[Logits] = []
    classes: list[NDArray[np.int64]] = []
    for train, test, thumbnails in folds:
        logits = parts.logits(candidate, train)
        tested.append(logits[test])
        classes.append(truth[test])
        shown = np.concatenate([test, thumbnails])
        shown = shown[np.isfinite(logits[shown]).all(axis=1)]
        right.append(logits[shown].argmax(axis=1) == truth[shown])
    probabilities = probabilities_from_logits(np.concatenate(tested).astype(np.float32), 1.0)
    return np.concatenate(right), log_loss(probabilities, np.concatenate(classes))


def _places(parts: Parts) -> Places:
    places = parts.features.supplements.places
    if places is None:
        raise ValueError("A nested choice needs the slides and cases of the tiles.")
    return places
