"""Plans: their arithmetic, and what they answer to demands at the limits."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.environments import REPOSITORY
from benchmarks.sizing.__main__ import BENCHMARK, main
from benchmarks.sizing.plan_report import render_plan
from benchmarks.sizing.planning import Cluster, Demand, memory_of, plan, weigh_gpu

LIMITS = {
    "max_tiles": 128,
    "max_queue_s": 5.0,
    "max_upload_bytes": 256 << 20,
    "max_decode_bytes": 512 << 20,
    "slide_memory_bytes": 1 << 30,
}


def measured_gpu(gpu_per_s: float) -> dict[str, Any]:
    """A host of 16 cores that answers 200 tiles/s with 4 of them, and others with its GPU."""
    on_cpu = {"tiles_per_s": 200.0, "busy_cores": 4.0}
    worse = {"tiles_per_s": 30.0, "busy_cores": 3.0}
    on_gpu = {"tiles_per_s": gpu_per_s, "busy_cores": 2.0}
    return {
        "gpu": "a GPU",
        "host": {"cores": 16},
        "setups": [
            {"device": "cpu", "loads": [worse, on_cpu]},
            {"device": "a GPU", "loads": [worse, on_gpu]},
        ],
    }


def measured(cores: int) -> dict[str, Any]:
    """A pod that answers 50 tiles a second on each core, and takes 20 ms for each tile."""
    turn = {"tiles_per_s": 50.0 * cores, "cpu_ms": 20.0, "serial_ms": 1.0, "cores_used": cores}
    return {
        "cores": cores,
        "idle_rss_mib": 140.0 + 40 * cores,
        "peak_rss_mib": 180.0 + 40 * cores,
        "alone_ms": [20.0],
        "saturated": [turn],
        "points": [],
    }


RESULTS = {
    "machine": {"cpu": "a processor", "date": "2026-01-01"},
    "disturbance": {"other_cores": 0.1, "stolen_cores": 0.0},
    "limits": LIMITS,
    "measured": [measured(1), measured(2)],
}
A_DAY = Demand(tiles_per_day=36_000, hours=10, peak_factor=4)  # 1 a second, 4 at the peak
BUSY_DAY = replace(A_DAY, tiles_per_day=1_080_000)  # 30 a second, 120 at the peak


@functools.cache
def planned(**cluster: Any) -> Mapping[str, Any]:
    """The plan of `A_DAY`, which no test may change: a plan simulates thousands of tiles."""
    return plan(RESULTS, A_DAY, Cluster(**cluster))


def test_demand_is_tiles_a_second() -> None:
    demand = replace(A_DAY, slides_per_day=60, tiles_per_slide=600)
    assert (demand.peak_per_s, demand.mean_per_s) == (4, 2)


def test_one_pod_is_enough_until_a_node_may_be_lost() -> None:
    assert planned(may_lose_node=False)["replicas"] == 1
    assert planned()["replicas"] == 2


def test_pods_that_remain_meet_the_demand() -> None:
    busy = plan(RESULTS, BUSY_DAY, Cluster(nodes=3, replaced_s=90))
    left = busy["replicas"] - busy["pods_of_a_node"]
    assert left * 100 * 0.8 >= 120
    assert busy["p99_ms_at_peak"] <= 500
    assert busy["lost_node"]["missing"]["refused_share"] == 0
    assert busy["cores"] == 2 * busy["replicas"]
    assert (left - 1) * 100 * 0.8 < 120  # one pod less would not do


def test_slides_need_cores_although_nobody_waits_for_them() -> None:
    slides = replace(A_DAY, slides_per_day=18_000, tiles_per_slide=600)  # 300 tiles a second
    found = plan(RESULTS, slides, Cluster(may_lose_node=False))
    assert found["replicas"] == 4  # 301 of 400 tiles a second are less than 80 %
    assert found["day_utilisation"] == pytest.approx(301 / 400)


def test_slides_without_single_tiles_can_be_planned() -> None:
    found = plan(RESULTS, Demand(0, slides_per_day=40), Cluster())
    assert found["replicas"] == 2
    assert found["lost_node"]["before"]["n_offered"] == 0


@pytest.mark.parametrize("tiles", [1e-300, 1e-3])
def test_almost_no_tiles_can_be_planned(tiles: float) -> None:
    found = plan(RESULTS, Demand(tiles), Cluster())
    assert (found["replicas"], found["p99_ms_at_peak"]) == (2, pytest.approx(20))


def test_loss_of_the_only_pod_leaves_requests_unanswered() -> None:
    lost = planned(may_lose_node=False)["lost_node"]
    assert lost["missing"]["lost_share"] == 1
    assert lost["after"]["lost_share"] == 0
    assert lost["recovered_s"] == 360


def test_half_of_the_requests_are_lost_until_the_loss_of_one_of_two_nodes_is_noticed() -> None:
    lost = planned()["lost_node"]  # which is noticed after 50 s
    assert lost["unnoticed"]["lost_share"] == pytest.approx(0.5, abs=0.05)
    assert lost["missing"]["lost_share"] == 0
    assert lost["recovered_s"] == 50


def test_target_below_the_time_of_a_request_is_refused_with_that_time() -> None:
    with pytest.raises(ValueError, match=r"do not reach .* 0\.01 s.* alone takes up to 0\.02 s"):
        plan(RESULTS, replace(A_DAY, target_p99_s=0.01), Cluster())


def test_plan_makes_up_for_what_the_simulation_predicts_too_low() -> None:
    points = [{"load": 0.5, "p99_ms": 90.0}, {"load": 1.5, "p99_ms": 9_000.0}]
    compared = RESULTS | {
        "measured": [measured(2) | {"points": points}],
        "predicted": {"points": [[{"p99_ms": [30.0, 20.0, 40.0]}] * 2]},
    }
    found = plan(compared, A_DAY, Cluster())
    assert found["p99_margin"] == 3
    assert found["p99_ms_at_peak"] == pytest.approx(3 * planned()["p99_ms_at_peak"])


def test_pods_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="pods of 3 cores were not measured; measured: 1, 2"):
        plan(RESULTS, A_DAY, Cluster(pod_cores=3))


def test_memory_limit_is_the_sum_of_the_limits() -> None:
    without = planned()["memory"]
    # 260 MiB measured, two decode processes of 45 + 512 MiB, 256 MiB of uploads: 1630 MiB
    assert (without["request_mib"], without["limit_mib"]) == (320, 1792)
    with_slides = plan(RESULTS, Demand(0, slides_per_day=1), Cluster())["memory"]
    assert with_slides["limit_mib"] == 1792 + 1024


def test_memory_of_the_shipped_set_ups_holds_the_plan_without_slides_that_the_page_states() -> None:
    results = json.loads(BENCHMARK.results_file.read_text())
    limit_mib, slides_mib = (
        memory_of(results, 2, has_slides=slides)["limit_mib"] for slides in (False, True)
    )
    page = BENCHMARK.page.read_text()
    assert f"the plan says {limit_mib:,} MiB" in page
    assert f"the plan says {slides_mib:,} MiB" in page
    kubernetes = (REPOSITORY / "deploy/kubernetes/base/deployment.yaml").read_text()
    (container,) = yaml.safe_load(kubernetes)["spec"]["template"]["spec"]["containers"]
    chart = yaml.safe_load((REPOSITORY / "deploy/helm/osteo-tiles/values.yaml").read_text())
    for resources in (container["resources"], chart["resources"]):
        assert {resources[kind]["memory"] for kind in ("requests", "limits")} == {"2Gi"}
    assert "mem_limit: ${MEMORY:-2g}" in (REPOSITORY / "docker-compose.yml").read_text()
    assert limit_mib <= 2048 < slides_mib


@pytest.mark.parametrize(
    ("gpu_per_s", "cost_cores", "peak_per_s", "pays"),
    [
        (2000, 10, 700, True),  # the host and 10 cores: 200 + 10 * 50 = 700 tiles/s
        (2000, 10, 699, False),
        (2000, 40, 5000, False),
        (2000, None, 5000, None),
        (199, 0, 5000, False),
        (199, None, 5000, False),
    ],
)
def test_gpu_pays_where_it_answers_more_than_its_host_and_the_cores_that_it_costs(
    gpu_per_s: float, cost_cores: float | None, peak_per_s: float, pays: bool | None
) -> None:
    found = weigh_gpu(measured_gpu(gpu_per_s), peak_per_s, cost_cores)
    assert found is not None
    assert (found["tiles_per_s"], found["cpu_tiles_per_s"]) == (gpu_per_s, 200)
    assert found["replaces_cores"] == (36 if gpu_per_s == 2000 else 0)
    assert found["pays"] is pays


@pytest.mark.parametrize("device", ["cpu", "a GPU"])
def test_gpu_is_not_weighed_without_the_cpu_of_its_host(device: str) -> None:
    gpu = measured_gpu(2000)
    setups = [setup for setup in gpu["setups"] if setup["device"] == device]
    assert weigh_gpu(gpu | {"setups": setups}, 5000, 1) is None


def test_plan_says_whether_a_gpu_pays_and_if_none_was_measured() -> None:
    def said(gpu: dict[str, Any] | None, cost_cores: float | None) -> str:
        cluster = Cluster(gpu_cost_cores=cost_cores)
        return render_plan(plan(RESULTS, Demand(0.001), cluster, gpu), RESULTS)

    assert "no GPU was measured" in said(None, 20)
    assert "does not pay at any price" in said(measured_gpu(199), None)
    assert "replaces 36.0 cores" in said(measured_gpu(2000), None)
    assert "at the peak it does not pay" in said(measured_gpu(2000), 20)


hours, peaks = st.integers(1, 24), st.integers(1, 10)
demands = st.builds(
    Demand, st.integers(0, 100_000), st.integers(0, 2_000), st.just(600), hours, peaks
)


@settings(max_examples=3)
@given(demand=demands, nodes=st.integers(2, 5))
def test_plan_meets_the_demand_with_a_node_less(demand: Demand, nodes: int) -> None:
    require_enough(demand, nodes)


@pytest.mark.exhaustive
@given(demand=demands, nodes=st.integers(2, 5))
def test_plan_meets_many_demands_with_a_node_less(demand: Demand, nodes: int) -> None:
    require_enough(demand, nodes)


def require_enough(demand: Demand, nodes: int) -> None:
    found = plan(RESULTS, demand, Cluster(nodes=nodes, noticed_s=5, replaced_s=10))
    left = found["replicas"] - found["pods_of_a_node"]
    assert left >= 1
    assert max(demand.peak_per_s, demand.mean_per_s) <= 0.8 * left * 100 * (1 + 1e-9)
    assert found["p99_ms_at_peak"] <= demand.target_p99_s * 1e3


def test_command_prints_a_table_or_json(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sizing.json"
    file.write_text(json.dumps(RESULTS))
    words = ["plan", "--results", str(file), "--tiles-per-day", "36000", "--replaced-s", "5"]
    assert main(words) == 0
    assert "| **replicas**" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["replicas"] == 2
    assert found["demand"]["peak_factor"] == 4


@pytest.mark.parametrize("content", ["", "[]", "# Sizing"])
@pytest.mark.parametrize("option", ["--results", "--gpu-results"])
def test_command_names_a_file_that_holds_no_results(
    option: str, content: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    file.write_text(content)
    assert main(["plan", option, str(file)]) == 1
    assert capsys.readouterr().err == f"sizing: {file} is not a results file.\n"


def test_command_counts_cores_and_prints_all_digits(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--pod-cores", "1", "--tiles-per-day", "1000000", "--slides-per-day", "1"]
    words += ["--hours", "24", "--peak-factor", "1", "--replaced-s", "5"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert " measured on 1 core |" in printed
    assert " 1,000,000 in 24 h, times 1 |" in printed
    assert " with slides, 1 a day of 600 tiles each |" in printed


def test_command_ends_quietly_if_its_reader_has_seen_enough() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        command = [sys.executable, "-m", "benchmarks.sizing", "plan"]
        done = subprocess.run(
            command, stdout=stdout, stderr=subprocess.PIPE, check=False, cwd=REPOSITORY
        )
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hours", "0"], "--hours must be"),
        (["--nodes", "0"], "--nodes must be"),
        (["--peak-factor", "0.5"], "--peak-factor must be"),
        (["--request-tiles", "65"], "--request-tiles must be"),
        (["--nodes", "1"], "one node"),
        (["--results", "/nowhere"], "/nowhere"),
    ],
)
def test_command_says_what_is_wrong_with_an_option(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *words]) == 1
    assert message in capsys.readouterr().err
