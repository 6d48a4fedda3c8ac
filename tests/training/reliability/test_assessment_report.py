"""The assessment report as a file, in the model card and in plots, also if values are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.review import ReviewReason
from training.errors import RunError
from training.evaluation.calibration import measure_calibration
from training.release.model_card_reliability import assessment_sections
from training.reliability.assessment_report import (
    REPORT_NAME,
    AssessmentReport,
    Selection,
    read_report,
    write_report,
)
from training.reliability.cam_deletion import Deletion
from training.reliability.conformal import measure_coverage_out_of_fold
from training.reliability.flag_rates import flag_rate
from training.reliability.plots import plot_risk_coverage, plot_robustness
from training.reliability.robustness import Robustness
from training.reliability.selective import risk_coverage

PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.3, 0.4, 0.3]], np.float32)
TRUTH = np.array([0, 0])


def a_report(**parts: Any) -> AssessmentReport:
    """Two tiles: too few for prediction sets and for reviewing three quarters."""
    quality = measure_calibration(np.log(PROBABILITIES.astype(np.float64)), TRUTH, 1.0)
    points = risk_coverage(np.array([0.1, 0.9]), np.array([False, True]))
    flagged = flag_rate("k", [frozenset({ReviewReason.BLANK}), frozenset()])
    known: dict[str, Any] = {
        "source": "2 answers",
        "n_tiles": 2,
        "before": quality,
        "after": quality,
        "coverage": (
            measure_coverage_out_of_fold("slide", 0.9, PROBABILITIES, TRUTH, np.array(["a", "b"])),
        ),
        "real": flag_rate("real tiles", [frozenset()] * 2),
        "ood_samples": (flagged,),
        "stains": (flagged,),
        "distance_methods": {"nearest": {"noise": 1.0}},
        "int8_verdicts_changed": None,
        "selection": (Selection(split="slide", n_tiles=2, n_wrong=1, points=points),),
        "deletion": Deletion(
            n_tiles=2, lost_by_map=0.2, lost_by_chance=0.1, lost_by_shape=0.0, map_beats_shape=1.0
        ),
        "robustness": (
            Robustness(
                change="lossless copy",
                n_tiles=2,
                unchanged=1.0,
                mean_difference=0.0,
                max_difference=0.0,
            ),
        ),
    }
    return AssessmentReport(**(known | parts))


def test_read_report_returns_what_was_written(tmp_path: Path) -> None:
    report = a_report()
    write_report(tmp_path, report)
    assert read_report(tmp_path) == report
    assert "outsiders" in json.loads((tmp_path / REPORT_NAME).read_bytes()), "the format stays"


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema_version": 2}'])
def test_read_report_rejects_other_files(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RunError, match="missing"):
        read_report(tmp_path)
    (tmp_path / REPORT_NAME).write_bytes(content)
    with pytest.raises(RunError, match="another schema version"):
        read_report(tmp_path)


def test_card_says_unavailable_if_a_value_is_missing() -> None:
    text = "\n\n".join(assessment_sections(a_report()))
    rows = text.splitlines()
    assert "| slide | 90.0 % | unavailable | unavailable | unavailable |" in rows
    assert "| slide | 75.0 % | 0 | unavailable | 100.0 % |" in rows
    assert "| k | 2 | 50.0 % | 1.3 to 98.7 % | `blank` 50.0 % |" in rows
    assert "| lossless copy | 100.0 % | 0.000 | 0.000 |" in rows
    assert "lowers its probability by 0.200" in text
    assert "int8" not in text
    assert "nan" not in text.lower().split()


def test_card_counts_the_verdicts_that_int8_changes() -> None:
    sections = assessment_sections(a_report(int8_verdicts_changed=3))
    assert "Verdicts that the int8 file changes: 3." in "\n".join(sections)


def test_plots_are_written_if_values_are_missing(tmp_path: Path) -> None:
    for plot in (plot_risk_coverage, plot_robustness):
        plot(tmp_path / f"{plot.__name__}.png", a_report())
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "plot_risk_coverage.png",
        "plot_robustness.png",
    }
