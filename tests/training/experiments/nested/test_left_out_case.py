"""A nested choice, with real fits: nothing of the case that is left out reaches it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.eager import run_eagerly
from tests.training.experiments.nested.drawing import CASES, CHANGES, draw_task
from tests.training.tiny_system import TINY
from training.experiments.nested import parts, run
from training.experiments.nested.config import Candidate
from training.experiments.nested.parts import Logits, Parts
from training.experiments.nested.run import Choice, NestedTask, run_nested
from training.fit.classifier import fit_classifier
from training.networks.registry import SYSTEMS

LEFT_OUT, CHOSEN_ON = "Case 4", "Case 3"
CHOSEN_ON_TOO = "Case 48"
"""A case of the choice that no test changes."""

pytestmark = pytest.mark.tensorflow


@dataclass(frozen=True)
class Followed:
    """A choice without `LEFT_OUT`, and the logits of every recipe that was fitted for it.

    Attributes:
        choice: as the journal holds it.
        fits: for each fit in order, its recipe and the names of the tiles that it trained on.
        logits: of each fit, `[n_fits, n_tiles and thumbnails, C]`.
        names, cases: of the tiles and thumbnails.
    """

    choice: Choice
    fits: list[tuple[Candidate | None, tuple[str, ...]]]
    logits: NDArray[np.float64]
    names: list[str]
    cases: NDArray[np.str_]

    @property
    def answers(self) -> dict[str, tuple[int, ...]]:
        return {answer.tile: answer.predicted for answer in self.choice.answers}

    def logits_of(self, cases: Collection[str]) -> NDArray[np.float64]:
        """Logits of some cases' tiles, ordered by name, because a label decides the order."""
        chosen = [i for i in np.argsort(self.names) if self.cases[i] in cases]
        return self.logits[:, chosen]


def follow(
    folder: Path, changed_case: str = "", changes: Collection[str] = (), has_today: bool = False
) -> Followed:
    """Run the fold that leaves a case out, from files to the journal.

    Today's recipe is a candidate only if `has_today`, because its fits take half of the time.
    """
    task = draw_task(folder, CASES, changed_case, changes)
    task = task if has_today else replace(task, today=None)
    tiles, thumbnails = task.index.tiles, task.supplements.thumbnails
    assert thumbnails is not None
    fits: list[tuple[Candidate | None, tuple[str, ...]]] = []
    logits: list[Logits] = []
    fit, folds_of = Parts.logits, run._outer_folds

    def recorded(
        fitted: Parts, candidate: Candidate | None, train: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        found = fit(fitted, candidate, train)
        fits.append((candidate, tuple(tiles[i].name for i in train)))
        logits.append(found)
        return found

    def only_one(task: NestedTask) -> list[object]:
        return [fold for fold in folds_of(task) if fold[1] == LEFT_OUT]

    def fit_eagerly(*given: Any, **options: Any) -> Any:
        with run_eagerly():  # today's recipe takes a few steps
            return fit_classifier(*given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "fit_classifier", fit_eagerly)
        patch.setattr(Parts, "logits", recorded)
        patch.setattr(run, "_outer_folds", only_one)
        (choice,) = run_nested(task, folder / "out")
    names = [*(tile.name for tile in tiles), *thumbnails.names]
    cases = np.concatenate([[tile.case for tile in tiles], thumbnails.places.cases])
    return Followed(choice, fits, np.stack(logits), names, cases)


@pytest.fixture(scope="module", autouse=True)
def _tiny_system() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SYSTEMS, TINY.name, TINY)
        yield


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    """With today's recipe, which is the first candidate."""
    return follow(tmp_path_factory.mktemp("unchanged"), has_today=True)


@pytest.fixture(scope="module")
def without_today(unchanged: Followed) -> Followed:
    """The same without today's recipe."""
    kept = [i for i, (candidate, _) in enumerate(unchanged.fits) if candidate is not None]
    answers = (
        answer.model_copy(update={"predicted": answer.predicted[1:]})
        for answer in unchanged.choice.answers
    )
    update = {"scores": unchanged.choice.scores[1:], "answers": tuple(answers)}
    choice = unchanged.choice.model_copy(update=update)
    fits = [unchanged.fits[i] for i in kept]
    return replace(unchanged, choice=choice, fits=fits, logits=unchanged.logits[kept])


def test_every_answer_is_about_the_case_that_is_left_out(unchanged: Followed) -> None:
    answers = unchanged.choice.answers
    assert {answer.case for answer in answers} == {LEFT_OUT}
    assert sum(not answer.is_thumbnail for answer in answers) == 6
    assert sum(answer.is_thumbnail for answer in answers) == 3
    recipes = {candidate for candidate, _ in unchanged.fits}
    assert None in recipes
    assert len(recipes) == len(unchanged.choice.scores) == 10
    for candidate, trained_on in unchanged.fits:
        assert not any(name.startswith(LEFT_OUT) for name in trained_on), candidate


def test_no_change_of_the_case_that_is_left_out_changes_the_choice_or_a_fit(
    unchanged: Followed, tmp_path: Path
) -> None:
    changed = follow(tmp_path, LEFT_OUT, CHANGES, has_today=True)
    assert changed.choice.scores == unchanged.choice.scores
    assert changed.choice.chosen == unchanged.choice.chosen
    assert changed.fits == unchanged.fits
    others = (CHOSEN_ON, CHOSEN_ON_TOO)
    np.testing.assert_array_equal(changed.logits_of(others), unchanged.logits_of(others))
    own, before = changed.logits_of([LEFT_OUT]), unchanged.logits_of([LEFT_OUT])
    assert not np.array_equal(own, before, equal_nan=True), "the pixels have changed"


def test_labels_and_rows_of_the_case_that_is_left_out_do_not_change_its_answers(
    without_today: Followed, tmp_path: Path
) -> None:
    changed = follow(tmp_path, LEFT_OUT, ["labels", "rows"])
    assert changed.choice.scores == without_today.choice.scores
    assert changed.answers == without_today.answers
    everyone = (CHOSEN_ON, CHOSEN_ON_TOO, LEFT_OUT)
    np.testing.assert_array_equal(changed.logits_of(everyone), without_today.logits_of(everyone))
    labels = [
        [answer.class_index for answer in one.choice.answers] for one in (changed, without_today)
    ]
    assert labels[0] != labels[1], "the labels have changed"


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_case_that_is_chosen_on_changes_the_scores_and_the_fits(
    without_today: Followed, tmp_path: Path, change: str
) -> None:
    changed = follow(tmp_path, CHOSEN_ON, [change])
    assert changed.fits == without_today.fits
    losses = [[score.log_loss for score in one.choice.scores] for one in (changed, without_today)]
    assert losses[0] != losses[1]
    for case in (CHOSEN_ON_TOO, LEFT_OUT):  # their pixels are the same, so the fits differ
        found, before = changed.logits_of([case]), without_today.logits_of([case])
        assert not np.array_equal(found, before)
