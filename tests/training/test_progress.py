"""Every phase of the work shows a progress bar that moves."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from tests.training.command_line import succeed
from training.console import progress

Bars = dict[str, list[float]]
"""Shares of the work done, in [0, 1], that the bars of each name showed."""

COMPUTING = {"Checking tiles", "Computing features", "Pooling", "Fitting"}
EXPORTING = {
    *("Exporting", "Measuring tiles", "Running the model", "Drawing other images"),
    *("Checking other images", "Imitating other stains", "Testing evidence maps"),
    "Changing tiles",
}


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> Bars:
    """Pretend that there is a terminal, and record what the bars show."""
    shown: Bars = defaultdict(list)
    update = Progress.update

    def recorded(bar: Progress, task: object, **given: object) -> None:
        update(bar, task, **given)  # type: ignore[arg-type] # as given
        (only,) = bar.tasks
        assert only.total
        shown[only.description].append(only.completed / only.total)

    monkeypatch.setattr(Progress, "update", recorded)
    monkeypatch.setattr(progress, "ERRORS", Console(force_terminal=True, quiet=True))
    return shown


@pytest.mark.tensorflow
def test_every_phase_of_a_release_has_a_bar_that_moves(
    drawn_dir: Path,
    tiny_config: Path,
    tmp_path: Path,
    bars: Bars,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OSTEO_WEIGHTS", raising=False)
    monkeypatch.setattr("training.reliability.bundle_assessment.MAX_TILES", 4)
    text = tiny_config.read_text().replace("[network]\n", '[network]\nsystem = "tiny"\n')
    tiny_config.write_text(text.replace('first_layer = "Conv_1"\n', ""))
    succeed("release", "--data-dir", drawn_dir, "--config", tiny_config)
    kinds = {f"Cross-validating by {kind}" for kind in ("random", "slide", "patient")}
    assert set(bars) == COMPUTING | EXPORTING | kinds
    for name, shares in bars.items():
        assert any(0 < share < 1 for share in shares), f"{name} stood still"
        assert shares[-1] == pytest.approx(1), f"{name} did not reach its end"


def test_stepped_counts_finished_steps(bars: Bars) -> None:
    with progress.stepped("Working", 2) as begin:
        begin("one")
        begin("two")
        assert bars["Working"] == [0, 0.5]
    assert bars["Working"] == [0, 0.5, 1]


def test_counted_prints_a_line_each_minute_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    monkeypatch.setattr(progress, "ERRORS", Console(stderr=True, force_terminal=False))
    with progress.counted("Working", 4) as advance:
        advance(0, "first")
        advance(1, "second")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Working: first, just begun", "Working: second, about 0 min left"]
