"""The benchmark of the GPU, on a machine without one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import InferenceError
from benchmarks.gpu import graph
from benchmarks.gpu.__main__ import BENCHMARK
from benchmarks.gpu.card import describe_card, sampled_utilisation, used_memory_mib
from benchmarks.gpu.report import render_gpu
from benchmarks.publish import replace_section

# Answers like the program of NVIDIA's driver.
NVIDIA_SMI = """#!/bin/sh
case "$1" in
    *name*) echo "A card, 580.1, 81559" ;;
    *memory.used*) echo 1024 ;;
    *utilization*) echo "50 %"; echo 30; echo 40; echo 90; : > "$0.done"; exec sleep 60 ;;
esac
"""


@pytest.fixture
def results() -> dict[str, Any]:
    """The published results."""
    found: dict[str, Any] = json.loads(BENCHMARK.results_file.read_text())
    return found


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "nvidia-smi"
    program.write_text(NVIDIA_SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return program


def graph_lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What the program says of one batch, and of the rest, joined."""
    sizes = ("--runtime", "litert", "--sizes", "2", "--seconds", "0.01")
    assert graph.main([*sizes, *arguments]) == 0
    joined: dict[str, Any] = {}
    for line in capsys.readouterr().out.splitlines():
        joined |= json.loads(line)
    return joined


@pytest.fixture
def drawn_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSTEO_DATA_DIR", raising=False)
    monkeypatch.setattr("benchmarks.tiles.WORK_DIR", tmp_path)
    monkeypatch.setattr("benchmarks.tiles._DRAWN_PER_LABEL", 1)
    monkeypatch.setattr("benchmarks.tiles._DRAWN_SIDE_PX", 256)


def test_page_shows_the_results_file(results: dict[str, Any]) -> None:
    page = BENCHMARK.page.read_text()
    assert replace_section(page, "gpu", render_gpu(results)) == page


def test_report_lacks_what_was_not_measured(results: dict[str, Any]) -> None:
    report = render_gpu(results | {"first_start_s": None, "card": None, "setups": []})
    assert "first start" not in report
    assert "no GPU, so nothing below says anything about one" in report


@pytest.mark.usefixtures("drawn_tiles")
def test_graph_is_timed_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    found = graph_lines(capsys, "--threads", "2")
    assert (found["device"], found["size"], found["threads"]) == ("cpu", 2, 2)
    assert found["tiles_per_s"] > 0
    assert (found["n_changed_labels"], found["max_probability_difference"]) == (0, 0.0)


@pytest.mark.usefixtures("drawn_tiles")
def test_graph_without_finite_logits_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, results: dict[str, Any]
) -> None:
    def overflow(*_: object) -> None:
        raise InferenceError("not finite")

    monkeypatch.setattr(graph, "probabilities_from_logits", overflow)
    found = graph_lines(capsys)
    assert found["not_finite"]
    entry = {"name": "half", "batches": [], **found}
    assert "not a finite number" in render_gpu(results | {"graphs": [entry]})


@pytest.mark.usefixtures("card")
def test_card_is_described() -> None:
    assert describe_card() == {
        "name": "A card",
        "driver_version": "580.1",
        "memory.total": "81559",
    }
    assert used_memory_mib() == 1024


def test_utilisation_is_the_median_of_the_samples(card: Path) -> None:
    with sampled_utilisation() as seen:
        while not card.with_suffix(".done").exists():
            time.sleep(0.01)
    assert seen.median_percent == 40


def test_machine_without_a_card_is_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with sampled_utilisation() as seen:
        pass
    assert (describe_card(), used_memory_mib(), seen.median_percent) == (None, None, None)
