from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.core.manifest import SplitKind
from training.config import TrainingConfig
from training.data.labels import LABEL_IDS
from training.errors import RunError
from training.evaluation.metrics import (
    accuracy_interval,
    evaluate,
    expected_calibration_error,
    log_loss,
    macro_f1_interval,
    outcome_of,
)
from training.evaluation.plots import plot_confusion, plot_epochs, plot_reliability
from training.evaluation.temperature import calibrate, fit_temperature
from training.runs.records import Answer, CrossValidation, read_cross_validation, write_run

RECORDS = tuple(
    {
        "phase": phase,
        "epoch": epoch,
        "loss": 1.0 / epoch,
        "accuracy": 0.5,
        "test_loss": 1.0,
        "test_accuracy": 0.4,
    }
    for phase, epoch in (("head", 1), ("head", 2), ("fine_tune", 1))
)


def run_of(pairs: list[tuple[int, int]], kind: SplitKind = "slide") -> CrossValidation:
    """A run with one answer a (true, answered) pair, on slides of two tiles, in one fold."""
    answers = tuple(
        Answer(
            tile=f"t{i}",
            slide=f"s{i // 2}",
            fold="fold 1",
            label=LABEL_IDS[true],
            logits=tuple(2.0 if c == answered else 0.0 for c in range(3)),
        )
        for i, (true, answered) in enumerate(pairs)
    )
    return CrossValidation(
        kind=kind,
        split_sha256="0" * 64,
        index_sha256="1" * 64,
        config=TrainingConfig(model_name="m"),
        answers=answers,
        history={"fold 1": RECORDS},
    )


def test_evaluate_measures_what_can_be_counted_by_hand() -> None:
    metrics = evaluate(run_of([(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 2), (2, 0), (1, 1)]))
    assert metrics.confusion == ((1, 1, 0), (0, 2, 1), (1, 0, 2))
    assert metrics.accuracy == 5 / 8
    non_tumor, non_viable, viable = metrics.classes
    assert (non_tumor.precision, non_tumor.recall, non_tumor.f1) == (1 / 2, 1 / 2, 1 / 2)
    assert (non_viable.precision, non_viable.recall) == (2 / 3, 2 / 3)
    assert viable.f1 == pytest.approx(2 / 3)
    # Tumour against not: viable and non-viable are one, so (1, 2) is right here.
    assert (metrics.tumor_precision, metrics.tumor_recall) == (5 / 6, 5 / 6)
    assert metrics.accuracy_low <= metrics.accuracy <= metrics.accuracy_high
    assert metrics.folds[0].support == {
        "non_tumor": 2,
        "non_viable_tumor": 3,
        "viable_tumor": 3,
    }


def test_evaluate_calls_absent_classes_unavailable() -> None:
    metrics = evaluate(run_of([(0, 0), (0, 1)], kind="patient"))
    assert [c.recall for c in metrics.classes] == [0.5, None, None]
    assert [c.precision for c in metrics.classes] == [1.0, None, None]
    assert (metrics.tumor_precision, metrics.tumor_recall) == (None, None)
    assert metrics.macro_f1 == pytest.approx(2 / 3)


def test_evaluate_calls_precision_unavailable_where_nothing_was_claimed() -> None:
    metrics = evaluate(run_of([(0, 0), (1, 0)]))
    assert metrics.classes[1].precision is None
    assert (metrics.classes[1].recall, metrics.classes[1].f1) == (0.0, 0.0)


def test_accuracy_interval_resamples_slides_not_tiles() -> None:
    # 10 slides of 2 tiles, each all right or all wrong: half the information 20 tiles would have.
    together = outcome_of(run_of([(0, 0 if i // 2 % 2 else 1) for i in range(20)]))
    mixed = outcome_of(run_of([(0, 0 if i % 2 else 1) for i in range(20)]))
    low, high = accuracy_interval(together, seed=0)
    assert low == pytest.approx(0.2)
    assert high == pytest.approx(0.8)
    assert accuracy_interval(mixed, seed=0) == (0.5, 0.5)


def test_expected_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0]] * 4 + [[0.6, 0.3, 0.1]] * 4, dtype=np.float32)
    truth = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    # Half the tiles are 0.15 too sure, the other half 0.35.
    assert expected_calibration_error(probabilities, truth) == pytest.approx(0.25)
    assert log_loss(probabilities[:1], truth[:1]) == pytest.approx(-np.log(0.9))


def test_fit_temperature_recovers_the_one_that_was_applied() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (probabilities.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)
    assert fit_temperature(logits * 3.0, truth) == pytest.approx(3.0, rel=0.1)


def test_calibrate_refuses_other_splits_than_by_slide() -> None:
    with pytest.raises(RunError, match="by random"):
        calibrate(run_of([(0, 0), (1, 0)], kind="random"))


def test_read_cross_validation_returns_what_was_written(tmp_path: Path) -> None:
    run = run_of([(0, 0), (1, 2)])
    write_run(tmp_path / "run", run)
    assert read_cross_validation(tmp_path / "run") == run


def test_read_cross_validation_explains_what_is_missing_or_foreign(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="osteo-train fit --split"):
        read_cross_validation(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunError, match="is not a cross-validation"):
        read_cross_validation(tmp_path)


def test_plots_are_written_as_png(tmp_path: Path) -> None:
    run = run_of([(0, 0), (1, 2), (2, 2)])
    plot_confusion(tmp_path / "confusion.png", evaluate(run))
    plot_epochs(tmp_path / "epochs.png", run)
    plot_reliability(tmp_path / "reliability.png", run, 2.0)
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG"), path.name


def test_a_fold_says_what_was_measured_on_it_and_what_was_not() -> None:
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


def test_macro_f1_interval_leaves_out_labels_that_a_resample_lacks() -> None:
    """All right: whatever slides are drawn, every label they hold has an F1 of 1."""
    outcome = outcome_of(run_of([(0, 0), (0, 0), (1, 1), (1, 1), (2, 2), (2, 2)]))
    assert macro_f1_interval(outcome, 0) == (1.0, 1.0)
    wrong = outcome_of(run_of([(0, 1), (0, 1), (1, 0), (1, 0)]))
    assert macro_f1_interval(wrong, 0) == (0.0, 0.0)


def test_balanced_accuracy_is_the_mean_recall_of_labels_that_are_there() -> None:
    metrics = evaluate(run_of([(0, 0), (0, 0), (0, 0), (1, 0)]))
    assert metrics.balanced_accuracy == pytest.approx(0.5)
    assert metrics.macro_f1_low is not None
