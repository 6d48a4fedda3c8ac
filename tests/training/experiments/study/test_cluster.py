"""The study on a Ray cluster on this machine that loses a worker or one of two nodes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until
from tests.training.experiments.study.conftest import MakeStudy
from training.errors import RunError
from training.experiments.study.config import StudyConfig
from training.experiments.study.engines import Engine, SerialEngine
from training.experiments.study.journal import open_journal, read_journal
from training.experiments.study.study import Study

pytestmark = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray has no wheel for this Python or system"
)

_STORE_BYTES = 80 * 2**20


@pytest.fixture(autouse=True)
def _no_grammar_of_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide a package that Ray's own processes can do without.

    Ray imports jsonschema, which imports rfc3987_syntax if it is installed, and that compiles a
    grammar for two seconds. A cluster of two nodes has nine such processes.
    """
    name = "rfc3987_syntax"
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / f"{name}.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(hidden))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    # Nobody reads the logs or scales the cluster, and each of the two would be a process.
    unused = {"include_log_monitor": False, "no_monitor": True}
    made = Cluster(initialize_head=True, head_node_args=node | unused)
    yield made
    made.shutdown()


def _records(study: Study, engine: Engine, after: dict[int, Any]) -> dict[str, dict[str, Any]]:
    """Every run's record without its time; `after` maps a number of runs to an action."""
    with open_journal(study.folders.out) as journal:
        for number, _ in enumerate(study.run(study.figure_3, journal, engine), start=1):
            after.get(number, lambda: None)()
    return {
        key: record.model_dump(exclude={"seconds"})
        for key, record in read_journal(study.folders.out).items()
    }


def _kill_workers(cluster: Any) -> None:
    """Kill the process that fits on the head node."""
    raylet = cluster.head_node.all_processes["raylet"][0].process.pid

    def kill() -> bool:
        listing = ["ps", "-A", "-o", "ppid=,pid=,args="]
        listed = subprocess.run(listing, check=True, capture_output=True, text=True).stdout
        found = re.findall(rf"^ *{raylet} +(\d+) ray::fit_there", listed, re.MULTILINE)
        for worker in found:
            os.kill(int(worker), signal.SIGKILL)
        return bool(found)

    wait_until(kill)


def test_ray_engine_equals_the_serial_one_after_losing_a_worker(
    make_study: MakeStudy, study_config: StudyConfig, cluster: Any
) -> None:
    from training.experiments.study.cluster import RayEngine

    # Two fits, and the second is long enough that the worker is at it when it dies.
    grid = {"learning_rates": (0.01,), "epochs": (2, 3000), "runs": 2}
    config = study_config.model_copy(update={"grid": study_config.grid.model_copy(update=grid)})
    kill = {1: lambda: _kill_workers(cluster)}
    on_ray = _records(make_study("ray", config), RayEngine(cluster.address), kill)
    serial = _records(make_study("serial", config), SerialEngine(), {})
    assert len(on_ray) == 4
    assert on_ray == serial


@pytest.mark.exhaustive
def test_ray_engine_equals_the_serial_one_after_losing_a_node(
    make_study: MakeStudy, study_config: StudyConfig, cluster: Any
) -> None:
    import ray

    from training.experiments.study.cluster import RayEngine

    # Long enough that the second node is at work when it dies.
    grid = study_config.grid.model_copy(update={"epochs": (300, 400), "runs": 2})
    config = study_config.model_copy(update={"grid": grid})
    node = cluster.add_node(num_cpus=1, object_store_memory=_STORE_BYTES)
    lost: list[int] = []

    def kill() -> None:
        cluster.remove_node(node, allow_graceful=False)
        lost.append(len([entry for entry in ray.nodes() if entry["Alive"]]))

    on_ray = _records(make_study("ray", config), RayEngine(cluster.address), {2: kill})
    assert lost
    serial = _records(make_study("serial", config), SerialEngine(), {})
    assert len(on_ray) == 8
    assert on_ray == serial


def test_ray_engine_reports_an_address_without_a_cluster(make_study: MakeStudy) -> None:
    from training.experiments.study.cluster import RayEngine

    study = make_study()
    with (
        open_journal(study.folders.out) as journal,
        pytest.raises(RunError, match=r"no Ray cluster at 127\.0\.0\.1:1"),
    ):
        list(study.run(study.figure_3, journal, RayEngine("127.0.0.1:1")))
