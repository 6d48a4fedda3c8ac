"""The measurement on a real service under a real limit, and its published report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.runtime.cores import cgroup_folders
from benchmarks.publish import replace_section
from benchmarks.sizing import predicting
from benchmarks.sizing.__main__ import BENCHMARK, CHART, main, plan_example
from benchmarks.sizing.disturbance import Counters, disturbance, read_counters, require_quiet
from benchmarks.sizing.quota import limited_cores
from benchmarks.sizing.report import render_sizing
from tests.bundles import plain_tile

COUNT_CORES = "import sys, app.runtime.cores as c; sys.stdout.write(str(c.usable_cores()))"


def n_cores_within(folders: list[Path] | None, n_cores: int) -> tuple[str, str]:
    """How a program was limited, and the cores that the service would use there."""
    with limited_cores(n_cores, folders) as limit:
        command = limit.command([sys.executable, "-c", COUNT_CORES])
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return limit.kind, done.stdout


def test_without_permission_a_program_is_limited_by_affinity(tmp_path: Path) -> None:
    assert n_cores_within([tmp_path / "missing"], 1) == ("affinity", "1")


def test_quota_limits_the_cores_that_the_service_uses_and_is_removed() -> None:
    kind, found = n_cores_within(None, 1)
    assert found == "1"
    if kind != "quota":
        pytest.skip("this machine does not let this user make CPU quotas: run as root")
    for folder in cgroup_folders():
        assert not list(folder.glob(f"osteo-sizing-{os.getpid()}-*"))


@pytest.mark.parametrize(
    ("is_v2", "files"),
    [
        (True, {"cpu.max": "200000 100000", "cpu.weight": "10000"}),
        (False, {"cpu.cfs_quota_us": "200000", "cpu.cfs_period_us": "100000"}),
    ],
)
def test_quota_is_written_as_the_version_of_the_cgroups_wants_it(
    *, is_v2: bool, files: dict[str, str], tmp_path: Path
) -> None:
    if is_v2:
        (tmp_path / "cgroup.controllers").write_text("cpu memory")
    with limited_cores(2, [tmp_path]) as limit:
        (group,) = [entry for entry in tmp_path.iterdir() if entry.is_dir()]
        assert limit.prefix[-1] == str(group / "cgroup.procs")
        for name, content in files.items():
            assert (group / name).read_text() == content
        for file in group.iterdir():  # a real cgroup's files go with its folder
            file.unlink()
    assert not group.exists()
    assert not is_v2 or (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"


def test_disturbance_is_what_the_machine_did_beyond_the_measurement() -> None:
    before, after = Counters(100.0, 1.0, 50.0), Counters(118.0, 2.0, 60.0)
    found = disturbance(before, after, own_s=15.0)
    assert (found.other_cores, found.stolen_cores) == pytest.approx((0.3, 0.1))


def test_counters_grow_with_work() -> None:
    before = read_counters()
    while read_counters().busy_s <= before.busy_s:
        pass
    assert read_counters().at_s > before.at_s


def test_busy_machine_is_refused_with_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"other work uses .* cores .* --busy"):
        require_quiet(max_other_cores=-1, sample_s=0.05)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A quick run on one core: a rate that it can take, and one far above."""
    folder = tmp_path_factory.mktemp("sizing")
    (folder / "tiles").mkdir()
    (folder / "tiles" / "a.png").write_bytes(plain_tile((200, 120, 160)))
    output = folder / "sizing.json"
    words = ["measure", "--busy", "--cores", "1", "--seconds", "0.6", "--loads", "0.3", "20"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicting, "RUNS", 3)
        patch.setattr(predicting, "CURVE_TILES", 600)
        patch.setattr(predicting, "LOST_OF", (2,))
        assert main([*words, "--tiles", str(folder / "tiles"), "--output", str(output)]) == 0
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def test_service_is_measured_alone_saturated_and_at_each_rate(measured: dict[str, Any]) -> None:
    (entry,) = measured["measured"]
    assert entry["cores"] == 1
    assert entry["alone_ms"]
    assert len(entry["saturated"]) == 3
    for turn in entry["saturated"]:
        assert 0 < turn["serial_ms"] < turn["cpu_ms"]
        assert turn["cores_used"] < 1.5
    assert [point["load"] for point in entry["points"]] == [0.3, 20]
    assert entry["points"][0]["refused_share"] == 0
    assert entry["idle_rss_mib"] <= entry["peak_rss_mib"]


def test_overload_is_refused_as_the_simulation_says(measured: dict[str, Any]) -> None:
    (entry,) = measured["measured"]
    assert entry["points"][1]["refused_share"] > 0
    assert measured["predicted"]["points"][0][1]["refused_share"][0] > 0


def test_report_has_every_part(measured: dict[str, Any]) -> None:
    report = render_sizing(measured, "chart.png")
    for heading in ("measured", "measured and predicted", "simulated", "planned"):
        assert f", {heading}\n" in report
    assert "429" in report


def test_page_has_the_report_and_the_picture_of_the_results_file() -> None:
    page = BENCHMARK.page.read_text()
    results = json.loads(BENCHMARK.results_file.read_text())
    assert replace_section(page, "sizing", render_sizing(results, CHART.name)) == page
    assert CHART.read_bytes().startswith(b"\x89PNG")


def test_results_file_has_the_worked_example_of_this_code_and_of_the_measured_gpu() -> None:
    # If not: python -m benchmarks.sizing report --write-docs
    results = json.loads(BENCHMARK.results_file.read_text())
    assert json.loads(json.dumps(plan_example(results))) == results["example"]


def test_help_says_how_to_plan(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "plan --tiles-per-day 2000 --slides-per-day 40" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    assert "--gpu-cost-cores" in capsys.readouterr().out
