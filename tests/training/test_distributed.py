"""Two processes, or two devices of one process, train like a single one, even after a crash."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.training.command_line import succeed, wait_for
from tests.training.forked import COMMAND, ForkedCommand
from tests.training.tiny_system import TINY
from training.data.index import Index
from training.distributed import require_cluster
from training.errors import ClusterError
from training.networks.registry import SYSTEMS
from training.storage.frozen_model import write_json

CONFIG = """
model_name = "together"
seed = 1

[data]
tile_side_px = 128

[augment]
n_views = 1

[network]
system = "tiny"
backbone.side_px = 32
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


def test_require_cluster_refuses_a_missing_or_wrong_description() -> None:
    with pytest.raises(ClusterError, match="TF_CONFIG is not set"):
        require_cluster(None)
    with pytest.raises(ClusterError, match="does not describe a cluster"):
        require_cluster('{"cluster": {}}')
    beyond = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}
    with pytest.raises(ClusterError, match=r"not one of its workers \(1\)"):
        require_cluster(json.dumps(beyond))


def free_ports(n_ports: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n_ports)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


LOGICAL_DEVICES = """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""
"""Splits the only CPU into two devices; the rest is the command itself."""

WITH_TINY = "from tests.training.tiny_system import register; register()"
EVERY_STEP = "from training.fit import checkpoint_dir as d; d.CHECKPOINT_EVERY_S = 0"


class Fits:
    """Runs `osteo-train fit` in several processes, on the same tiles with the same settings."""

    def __init__(self, drawn_dir: Path, drawn_index: Index, tmp_path: Path) -> None:
        self._tmp_path = tmp_path
        self._given = ("--data-dir", str(drawn_dir), "--index", str(tmp_path / "index.json"))
        write_json(tmp_path / "index.json", drawn_index)
        names = ("OSTEO_", "TF_CONFIG")
        self._plain = {k: v for k, v in os.environ.items() if not k.startswith(names)}
        self._commands: list[ForkedCommand] = []

    def arguments(self, name: str, strategy: str) -> list[str]:
        config = self._tmp_path / f"{name}.toml"
        config.write_text(CONFIG.replace("STRATEGY", strategy))
        return ["fit", *self._given, "--config", str(config), "--out", str(self._tmp_path / name)]

    def start(
        self, name: str, strategy: str, cluster: str | None = None, prepare: str = ""
    ) -> ForkedCommand:
        command = ForkedCommand(
            self.arguments(name, strategy),
            self._tmp_path / f"{name}-{len(self._commands)}.log",
            f"{WITH_TINY}\n{prepare}\n{COMMAND}",
            self._plain if cluster is None else self._plain | {"TF_CONFIG": cluster},
        )
        self._commands.append(command)
        return command

    def start_workers(self, prepare: str = "") -> list[ForkedCommand]:
        workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
        clusters = [
            json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}})
            for i in range(2)
        ]
        return [
            self.start(f"worker{i}", "multi_worker", cluster, prepare)
            for i, cluster in enumerate(clusters)
        ]

    def end(self) -> None:
        for command in self._commands:
            command.kill()
            command.communicate()

    def losses(self, name: str) -> list[float]:
        run = json.loads((self._tmp_path / name / "run.json").read_text())
        return [record["loss"] for record in run["history"]]

    def require_same(self, name: str, other: str) -> None:
        assert len(self.losses(other)) == 4
        np.testing.assert_allclose(self.losses(name), self.losses(other), rtol=1e-4)
        with (
            np.load(self._tmp_path / other / "weights.npz") as alone,
            np.load(self._tmp_path / name / "weights.npz") as together,
        ):
            assert set(alone) == set(together)
            for part in alone:
                # Adam takes a full step for a gradient near zero, so single weights differ.
                gap = np.linalg.norm(together[part] - alone[part])
                assert gap <= 1e-3 * np.linalg.norm(alone[part]) + 1e-6, part


@pytest.fixture
def fits(drawn_dir: Path, drawn_index: Index, tmp_path: Path) -> Iterator[Fits]:
    started = Fits(drawn_dir, drawn_index, tmp_path)
    try:
        yield started
    finally:
        started.end()


@pytest.mark.tensorflow
@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("phase", ["head", pytest.param("fine_tune", marks=pytest.mark.exhaustive)])
def test_two_workers_and_two_devices_fit_the_weights_of_one_even_if_a_worker_is_killed(
    fits: Fits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    for name in ("OSTEO_DATA_DIR", "OSTEO_WEIGHTS"):  # they would override the configuration
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(SYSTEMS, TINY.name, TINY)
    first, second = fits.start_workers(EVERY_STEP)
    checkpoint = f"unfinished/*/{phase}.npz"
    wait_for(lambda: any((tmp_path / "worker0").glob(checkpoint)), first)
    second.kill()
    said = first.communicate()
    assert first.returncode == 1, said
    assert "start all of them again" in " ".join(said.split())
    assert not (tmp_path / "worker0" / "run.json").exists()
    assert (tmp_path / "worker1" / "unfinished" / "features-1").is_dir()

    mirrored = fits.start("mirrored", "mirrored", prepare=LOGICAL_DEVICES)
    again = fits.start_workers()
    succeed(*fits.arguments("alone", "none"))
    outputs = []
    for process in (*again, mirrored):
        outputs.append(process.communicate())
        assert process.returncode == 0, outputs[-1][-3000:]
    assert "Resuming from" in " ".join(outputs[0].split())
    assert "The first worker has written" in outputs[1]
    assert not (tmp_path / "worker1").exists()
    fits.require_same("worker0", "alone")
    fits.require_same("mirrored", "alone")
