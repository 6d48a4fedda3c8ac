"""What was measured, through its file, into the card and the plots; with nothing known, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.review import ReviewReason
from training.errors import RunError
from training.release.model_card_reliability import assessment_sections
from training.reliability.calibration_metrics import measure_quality
from training.reliability.cam_deletion import Deletion
from training.reliability.conformal import score_apart
from training.reliability.flag_rates import count_flagged
from training.reliability.plots import plot_risk_coverage, plot_robustness
from training.reliability.report import (
    REPORT_NAME,
    AssessmentReport,
    Selection,
    read_report,
    write_report,
)
from training.reliability.robustness import Robustness
from training.reliability.selective import risk_coverage

PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.3, 0.4, 0.3]], np.float32)
TRUTH = np.array([0, 0])


def a_report(**parts: Any) -> AssessmentReport:
    """Of two tiles: too few for a set, and for an accuracy where three quarters are reviewed."""
    quality = measure_quality(np.log(PROBABILITIES.astype(np.float64)), TRUTH, 1.0)
    points = risk_coverage(np.array([0.1, 0.9]), np.array([False, True]))
    flagged = count_flagged("k", [frozenset({ReviewReason.BLANK}), frozenset()])
    known: dict[str, Any] = {
        "source": "2 answers",
        "n_tiles": 2,
        "before": quality,
        "after": quality,
        "coverage": (score_apart("slide", 0.9, PROBABILITIES, TRUTH, np.array(["a", "b"])),),
        "real": count_flagged("real tiles", [frozenset()] * 2),
        "outsiders": (flagged,),
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


def test_report_comes_back_from_its_file(tmp_path: Path) -> None:
    report = a_report()
    write_report(tmp_path, report)
    assert read_report(tmp_path) == report


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema_version": 2}'])
def test_other_files_are_no_report(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RunError, match="missing"):
        read_report(tmp_path)
    (tmp_path / REPORT_NAME).write_bytes(content)
    with pytest.raises(RunError, match="another version"):
        read_report(tmp_path)


def test_card_says_unavailable_where_nothing_is_known() -> None:
    text = "\n\n".join(assessment_sections(a_report()))
    rows = text.splitlines()
    assert "| slide | 90.0 % | unavailable | unavailable | unavailable |" in rows
    assert "| slide | 75.0 % | 0 | unavailable | 100.0 % |" in rows
    assert "| k | 2 | 50.0 % | 1.3 % to 98.7 % | `blank` 50.0 % |" in rows
    assert "| lossless copy | 100.0 % | 0.000 | 0.000 |" in rows
    assert "takes 0.200 of its probability" in text
    assert "int8" not in text
    assert "nan" not in text.lower().split()


def test_card_counts_the_verdicts_of_int8() -> None:
    sections = assessment_sections(a_report(int8_verdicts_changed=3))
    assert "Verdicts that the int8 file changes: 3." in "\n".join(sections)


def test_plots_are_drawn_of_what_is_known(tmp_path: Path) -> None:
    for plot in (plot_risk_coverage, plot_robustness):
        plot(tmp_path / f"{plot.__name__}.png", a_report())
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "plot_risk_coverage.png",
        "plot_robustness.png",
    }
