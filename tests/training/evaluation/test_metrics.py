from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.evaluation.runs import run_of
from training.data.labels import COLLECTION_LABELS
from training.evaluation.metrics import evaluate
from training.evaluation.plots import plot_confusion, plot_epochs, plot_reliability


def test_evaluate_by_hand() -> None:
    metrics = evaluate(run_of([(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 2), (2, 0), (1, 1)]))
    assert metrics.confusion == ((1, 1, 0), (0, 2, 1), (1, 0, 2))
    assert metrics.accuracy == 5 / 8
    non_tumor, non_viable, viable = metrics.classes
    assert (non_tumor.precision, non_tumor.recall, non_tumor.f1) == (1 / 2, 1 / 2, 1 / 2)
    assert (non_viable.precision, non_viable.recall) == (2 / 3, 2 / 3)
    assert viable.f1 == pytest.approx(2 / 3)
    # Tumour against non-tumour: both tumour labels count as one, so (1, 2) is correct.
    assert (metrics.tumor_precision, metrics.tumor_recall) == (5 / 6, 5 / 6)
    assert metrics.accuracy_low <= metrics.accuracy <= metrics.accuracy_high
    assert metrics.folds[0].support == {
        "non_tumor": 2,
        "non_viable_tumor": 3,
        "viable_tumor": 3,
    }


def test_evaluate_returns_none_for_absent_labels() -> None:
    metrics = evaluate(run_of([(0, 0), (0, 1)], kind="patient"))
    assert [c.recall for c in metrics.classes] == [0.5, None, None]
    assert [c.precision for c in metrics.classes] == [1.0, None, None]
    assert (metrics.tumor_precision, metrics.tumor_recall) == (None, None)
    assert metrics.macro_f1 == pytest.approx(2 / 3)


def test_evaluate_returns_no_precision_if_a_label_was_never_predicted() -> None:
    metrics = evaluate(run_of([(0, 0), (1, 0)]))
    assert metrics.classes[1].precision is None
    assert (metrics.classes[1].recall, metrics.classes[1].f1) == (0.0, 0.0)


def test_plots_are_written_as_png(tmp_path: Path) -> None:
    run = run_of([(0, 0), (1, 2), (2, 2)])
    plot_confusion(tmp_path / "confusion.png", evaluate(run), COLLECTION_LABELS)
    plot_epochs(tmp_path / "epochs.png", run)
    plot_reliability(tmp_path / "reliability.png", run, 2.0)
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG"), path.name


def test_evaluate_measures_each_fold() -> None:
    """Two labels on two slides, then a fold of one slide and one label."""
    run = run_of([(0, 0), (0, 1), (1, 1), (1, 1), (0, 0), (0, 0)], kind="patient")
    answers = tuple(
        answer.model_copy(update={"fold": "Case 3" if i < 4 else "P9"})
        for i, answer in enumerate(run.answers)
    )
    run = run.model_copy(update={"answers": answers, "history": {"Case 3": (), "P9": ()}})
    one, other = evaluate(run).folds
    assert [entry.recall for entry in one.classes] == [0.5, 1.0, None]
    assert one.macro_f1 == pytest.approx((2 / 3 + 0.8) / 2)
    assert one.accuracy_low is not None
    assert one.accuracy_low <= 0.75 <= (one.accuracy_high or 0)
    assert (other.accuracy, other.accuracy_low, other.accuracy_high) == (1.0, None, None)
    assert [entry.recall for entry in other.classes] == [1.0, None, None]


def test_balanced_accuracy_is_the_mean_recall_of_present_labels() -> None:
    metrics = evaluate(run_of([(0, 0), (0, 0), (0, 0), (1, 0)]))
    assert metrics.balanced_accuracy == pytest.approx(0.5)
    assert metrics.macro_f1_low is not None
