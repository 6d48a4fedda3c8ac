from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.data.places import Places
from training.experiments.nested.choice import Score, best_of, choose, thumbnails_of
from training.experiments.nested.config import Candidate
from training.experiments.nested.parts import Logits, Parts
from training.features.prepare import PreparedFeatures
from training.features.supplements import Supplements
from training.features.thumbnails import Thumbnails

CASES = np.repeat(["Case 1", "Case 2", "Case 3", "Case 4"], 10)
SLIDES = np.array([f"{case}-A{i % 5}" for i, case in enumerate(CASES)])
CLASSES = np.arange(40) % 3
GOOD = Candidate(("good",), 0.1, False, 0.0)
POOR = Candidate(("poor",), 0.1, False, 0.0)


class RecordingParts(Parts):
    """Answers by a rule instead of a fit, and records what each fit would have seen."""

    def __init__(self, features: PreparedFeatures) -> None:
        super().__init__(features, TrainingConfig(model_name="m"), None)
        self.trains: list[NDArray[np.int64]] = []

    def logits(self, candidate: Candidate | None, train: NDArray[np.int64]) -> Logits:
        self.trains.append(train)
        wrong = 3 if candidate == GOOD else 2  # every 3rd or every 2nd tile
        answers = self.features.class_indices + (np.arange(len(self.all)) % wrong == 0)
        logits: Logits = np.eye(3)[answers % 3]
        return logits

    @property
    def all(self) -> NDArray[np.int64]:
        return self.features.class_indices


@pytest.fixture
def parts() -> RecordingParts:
    thumbnails = Thumbnails(
        np.zeros((4, 8, 8, 3), np.uint8),
        np.array([0, 1, 2, 0]),
        Places(
            np.array(["Case 1-A0", "Case 1-B9", "Case 2-B9", "Case 9-A1"]),
            np.array(["Case 1", "Case 1", "Case 2", "Case 9"]),
        ),
        tuple("abcd"),
        ("0",) * 4,
    )
    supplements = Supplements(Places(SLIDES, CASES), thumbnails)
    classes = np.concatenate([CLASSES, thumbnails.class_indices])
    features = PreparedFeatures(
        "key", np.zeros((44, 1, 2)), classes, None, 40, supplements=supplements
    )
    return RecordingParts(features)


def scores(*values: tuple[float, float, float]) -> Iterator[Score]:
    return (Score(*value, one_tile=0.025) for value in values)


def test_choose_fits_nothing_on_a_tile_outside_the_choice(parts: RecordingParts) -> None:
    inner = np.flatnonzero(CASES != "Case 3")
    chosen, found = choose(parts, [POOR, GOOD], inner, 0.0)
    assert chosen == 1
    assert len(found) == 2
    outside = np.flatnonzero(CASES == "Case 3")
    assert len(parts.trains) == 2 * (3 + 5)
    for train in parts.trains:
        assert not np.isin(train, outside).any()
        assert len(train) < len(inner), "a fold leaves something out"


def test_choose_leaves_each_case_out_whole_and_each_slide_out_whole(parts: RecordingParts) -> None:
    choose(parts, [GOOD], np.arange(40), 0.0)
    by_case, by_slide = parts.trains[:4], parts.trains[4:]
    assert [set(CASES) - set(CASES[train]) for train in by_case] == [{c} for c in np.unique(CASES)]
    for train in by_slide:
        left_out = np.setdiff1d(np.arange(40), train)
        assert not set(SLIDES[left_out]) & set(SLIDES[train])


def test_best_of_prefers_the_case_score_of_those_that_reach_the_slide_score() -> None:
    found = list(scores((0.9, 1.0, 0.80), (0.7, 1.0, 0.83), (0.6, 0.1, 0.95)))
    assert best_of(found, 0.83) == 1


def test_best_of_takes_those_within_one_tile_of_the_best_when_none_reaches_it() -> None:
    found = list(scores((0.9, 1.0, 0.60), (0.7, 1.0, 0.775), (0.6, 1.0, 0.80)))
    assert best_of(found, 0.83) == 1


def test_best_of_breaks_ties_by_log_loss_and_then_by_order() -> None:
    assert best_of(list(scores((0.7, 0.9, 0.9), (0.7, 0.8, 0.9), (0.7, 0.8, 0.9))), 0.83) == 1


def test_thumbnails_of_leaves_out_those_of_slides_that_the_tiles_do_not_know(
    parts: RecordingParts,
) -> None:
    assert thumbnails_of(parts, np.arange(40), "Case 1").tolist() == [40, 41]
    without_a_slide = np.flatnonzero(SLIDES != "Case 1-A0")
    assert thumbnails_of(parts, without_a_slide, "Case 1").tolist() == [41]
    assert thumbnails_of(parts, np.arange(40), "Case 9").size == 0, "no tile of that case"
