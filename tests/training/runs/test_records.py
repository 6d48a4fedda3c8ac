from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.evaluation.runs import run_of
from training.errors import RunError
from training.runs.records import read_cross_validation, write_run


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
