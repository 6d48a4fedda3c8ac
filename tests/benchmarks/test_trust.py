from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.core.manifest import MANIFEST_NAME
from benchmarks.publish import replace_section
from benchmarks.trust import BASE, BENCHMARK, compare, main, render_costs
from tests.conftest import RELEASED_MODELS


def test_added_time_is_the_difference_on_the_same_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("benchmarks.trust.time.perf_counter", lambda: clock[0])
    seen: list[bytes] = []

    def base(tile_bytes: bytes) -> None:
        seen.append(tile_bytes)
        clock[0] += 0.010 if tile_bytes == b"a" else 0.030

    def costly(tile_bytes: bytes) -> None:
        clock[0] += 0.011 if tile_bytes == b"a" else 0.031

    first, second = compare({"base": base, "costly": costly}, [b"a", b"b"], n_repeats=6)
    assert (first.what, first.added_ms) == ("base", 0)
    assert first.median_ms == pytest.approx(20)
    assert second.added_ms == pytest.approx(1), "tiles differ by more than the work does"
    assert second.added_percent(first.median_ms) == pytest.approx(5)
    assert seen == [b"a", b"b"] * 8, "ten warm-up runs, then six"


def test_benchmark_runs_without_changing_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OSTEO_DATA_DIR", raising=False)
    monkeypatch.setattr("benchmarks.tiles.WORK_DIR", tmp_path)
    monkeypatch.setattr("benchmarks.tiles._DRAWN_PER_LABEL", 1)
    monkeypatch.setattr("benchmarks.tiles._DRAWN_SIDE_PX", 256)
    manifest = RELEASED_MODELS / "osteo-mobilenetv2" / "1" / MANIFEST_NAME
    before = manifest.read_bytes()
    output = tmp_path / "trust.json"
    assert main(["--repeats", "2", "--output", str(output)]) == 0
    results = json.loads(output.read_text())
    assert next(cost["what"] for cost in results["costs"]) == BASE
    assert len(results["costs"]) == 4
    assert all(cost["median_ms"] > 0 for cost in results["costs"])
    assert "drawn" in capsys.readouterr().out
    assert manifest.read_bytes() == before


def test_page_has_the_report_of_the_results_file() -> None:
    page = BENCHMARK.page.read_text()
    report = render_costs(json.loads(BENCHMARK.results_file.read_text()))
    assert replace_section(page, "trust", report) == page


@pytest.mark.parametrize(
    ("load", "added_ms", "verdict"),
    [(0.5, 0.9, "met"), (0.5, 1.1, "not met"), (3.0, 0.1, "not decided")],
)
def test_goal_is_judged_only_when_the_machine_was_idle(
    load: float, added_ms: float, verdict: str
) -> None:
    results = json.loads(BENCHMARK.results_file.read_text())
    results["machine"] |= {"load_at_start": load, "cores": 2}
    for cost, added in zip(results["costs"], (0, added_ms, added_ms, 9), strict=True):
        cost |= {"median_ms": 10, "added_ms": added}
    assert f"at most 10 %: {verdict}" in render_costs(results)
