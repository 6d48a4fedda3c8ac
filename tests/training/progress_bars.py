"""What the progress bars of a command show."""

from __future__ import annotations

import importlib
from collections import defaultdict

import pytest
from rich.console import Console
from rich.progress import Progress

from training.console import progress

Bars = dict[str, list[float]]
"""Shares of the work done, in [0, 1], that the bars of each name showed."""

COMPUTING = {"Checking tiles", "Computing features", "Pooling", "Fitting"}
EXPORTING = {
    *("Exporting", "Measuring tiles", "Running the model", "Drawing other images"),
    *("Checking other images", "Imitating other stains", "Testing evidence maps"),
    "Changing tiles",
}


def require_moving(bars: Bars) -> None:
    """Every phase of a release has a bar that moves and reaches its end."""
    kinds = {f"Cross-validating by {kind}" for kind in ("random", "slide", "patient")}
    assert set(bars) == COMPUTING | EXPORTING | kinds
    for name, shares in bars.items():
        assert any(0 < share < 1 for share in shares), f"{name} stood still"
        assert shares[-1] == pytest.approx(1), f"{name} did not reach its end"


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

    # What prints sentences keeps the console that it had when it was imported.
    importlib.import_module("training.release.pipeline")
    importlib.import_module("training.runs.cross_validation")
    monkeypatch.setattr(Progress, "update", recorded)
    monkeypatch.setattr(progress, "ERRORS", Console(force_terminal=True, quiet=True))
    return shown
