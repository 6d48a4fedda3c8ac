from __future__ import annotations

from pathlib import Path

import pytest

from app.core.manifest import FoldMetrics, SplitKind
from tests.training.evaluation.runs import run_of
from training.data.labels import LABELS
from training.errors import RunError
from training.evaluation.metrics import evaluate
from training.evaluation.split_tables import (
    SPLIT_HEADER,
    SPLIT_TITLES,
    case_header,
    case_rows,
    split_rows,
)
from training.runs.records import read_split_kinds, write_run

PAIRS = [(0, 0), (0, 1), (1, 1), (1, 1), (0, 0), (0, 0)]


def test_split_rows_shows_all_three_kinds_of_split_also_those_not_measured() -> None:
    rows = split_rows([evaluate(run_of(PAIRS, "patient")), evaluate(run_of(PAIRS, "slide"))])
    assert [row[0] for row in rows] == list(SPLIT_TITLES.values())
    assert all(len(row) == len(SPLIT_HEADER) for row in rows)
    assert set(rows[0][1:]) == {"not measured"}
    assert rows[1][1:3] == ["5 / 6 (1 fold)", "83.3 %"]


def test_case_rows_call_an_absent_label_unavailable() -> None:
    (row,) = case_rows([evaluate(run_of(PAIRS, "patient"))], LABELS)
    assert row[:3] == ["fold 1", "5 / 6", "83.3 %"]
    assert row[-3:] == ["75.0 % (3 / 4)", "100.0 % (2 / 2)", "unavailable (no tile)"]
    assert len(row) == len(case_header(LABELS))
    assert case_rows([evaluate(run_of(PAIRS, "slide"))], LABELS) == []


def test_case_rows_read_what_older_bundles_hold() -> None:
    """They say how many tiles a case has, and not how many of each label were known."""
    metrics = evaluate(run_of(PAIRS, "patient"))
    old = FoldMetrics(name="Case 3", n_tiles=6, accuracy=0.5, support={"non_tumor": 6})
    (row,) = case_rows([metrics.model_copy(update={"folds": (old,)})], LABELS)
    assert row[3] == "unavailable"
    assert row[-3:] == ["unavailable (6 tiles)", *["unavailable (no tile)"] * 2]


def test_read_split_kinds_finds_the_matching_runs_beside_a_run(tmp_path: Path) -> None:
    runs: dict[SplitKind, list[tuple[int, int]]] = {"random": PAIRS, "slide": PAIRS}
    for kind, pairs in runs.items():
        write_run(tmp_path / kind, run_of(pairs, kind))
    stranger = run_of(PAIRS, "patient")
    config = stranger.config.model_copy(update={"seed": 7})
    write_run(tmp_path / "patient", stranger.model_copy(update={"config": config}))
    assert {run.kind for run in read_split_kinds(tmp_path / "slide")} == {"random", "slide"}
    assert {run.kind for run in read_split_kinds(tmp_path / "patient")} == {"patient"}
    with pytest.raises(RunError):
        read_split_kinds(tmp_path)
