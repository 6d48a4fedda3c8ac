"""Two processes on this machine train as one does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from training.distribute import require_cluster
from training.errors import ClusterError

CONFIG = """
model_name = "together"
seed = 1

[data]
tile_side_px = 128

[augment]
n_views = 1

[network]
system = "vgg16"
side_px = 32
weights = "none"
hidden_units = 8

[head]
epochs = 2
learning_rate = 1e-2
batch_size = 23 # the second of 24 views' two batches has a view for one replica only

[fine_tune]
epochs = 2
learning_rate = 1e-4
batch_size = 7
views_per_epoch = 1

[distribute]
strategy = "STRATEGY"
"""


def test_require_cluster_says_what_is_missing() -> None:
    with pytest.raises(ClusterError, match="TF_CONFIG is not set"):
        require_cluster(None)
    with pytest.raises(ClusterError, match="no description of a cluster"):
        require_cluster('{"cluster": {}}')
    beyond = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}
    with pytest.raises(ClusterError, match="not one of the 1 workers"):
        require_cluster(json.dumps(beyond))


def free_ports(n_ports: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n_ports)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.mark.tensorflow
def test_two_workers_fit_what_one_process_fits(drawn_dir: Path, tmp_path: Path) -> None:
    given = ("--data-dir", str(drawn_dir), "--index", str(tmp_path / "index.json"))
    command = [sys.executable, "-m", "training.cli"]
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OSTEO_", "TF_CONFIG"))}
    index = ["index", *given[:2], "--out", given[3], "--tile-side-px", "128"]
    subprocess.run([*command, *index], check=True, cwd=REPOSITORY, env=plain, capture_output=True)

    def start(name: str, strategy: str, cluster: str | None = None) -> subprocess.Popen[str]:
        config = tmp_path / f"{name}.toml"
        config.write_text(CONFIG.replace("STRATEGY", strategy))
        return subprocess.Popen(
            [*command, "fit", *given, "--config", str(config), "--out", str(tmp_path / name)],
            cwd=REPOSITORY,
            env=plain if cluster is None else plain | {"TF_CONFIG": cluster},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    clusters = [
        json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}})
        for i in range(2)
    ]
    processes = [start("alone", "none")]
    processes += [start(f"worker{i}", "multi_worker", each) for i, each in enumerate(clusters)]
    try:
        outputs = [process.communicate(timeout=110) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
    assert "the first worker has written" in outputs[2][0]
    assert not (tmp_path / "worker1").exists()
    losses = [
        [
            record["loss"]
            for record in json.loads((tmp_path / name / "run.json").read_text())["history"]
        ]
        for name in ("alone", "worker0")
    ]
    assert len(losses[0]) == 4
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    with (
        np.load(tmp_path / "alone" / "weights.npz") as alone,
        np.load(tmp_path / "worker0" / "weights.npz") as together,
    ):
        assert set(alone) == set(together)
        for name in alone:
            # Adam makes a whole step of a gradient that is all but zero, so single weights differ.
            gap = np.linalg.norm(together[name] - alone[name])
            assert gap <= 1e-3 * np.linalg.norm(alone[name]) + 1e-6, name
