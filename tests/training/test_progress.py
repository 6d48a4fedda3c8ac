"""Progress bars move; test_commands.py shows that every phase of a release has one."""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.training.progress_bars import Bars, bars
from training.console import progress

__all__ = ["bars"]


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
