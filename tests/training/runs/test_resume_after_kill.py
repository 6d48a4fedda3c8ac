"""A fit that is stopped and resumed ends with the same weights as one that is not stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from tests.training.command_line import run, succeed, wait_for
from tests.training.forked import COMMAND, forked
from tests.training.tiny_system import FROM_SCRATCH
from training.config import TrainingConfig, read_config
from training.data.groups import Groups
from training.data.index import Index
from training.data.tiles import TileStream
from training.features.prepare import prepare_features
from training.fit.checkpoint_dir import NO_CHECKPOINTS, CheckpointDir
from training.fit.classifier import Fitted, fit_classifier
from training.networks.registry import SYSTEMS
from training.runs.records import class_indices_of

pytestmark = pytest.mark.tensorflow

AFTER_A_STEP = f"""
import signal, tensorflow
from tests.training.tiny_system import register
from training.fit import checkpoint_dir

register()
tensorflow.config.run_functions_eagerly(True)
checkpoint_dir.CHECKPOINT_EVERY_S = 0
write = checkpoint_dir.CheckpointDir.write

def write_and_wait(self, name, content):
    write(self, name, content)
    if name == "whole.npz":
        signal.pause()

checkpoint_dir.CheckpointDir.write = write_and_wait
{COMMAND}
"""
"""The command, which waits to be killed when it has saved the first step."""


class Stopping(CheckpointDir):
    """Interrupts the fit, as Ctrl-C does, when it has written `n_left` files."""

    n_left: int

    def write(self, name: str, write: Callable[[BinaryIO], Any]) -> None:
        super().write(name, write)
        self.n_left -= 1
        if self.n_left == 0:
            raise KeyboardInterrupt


def with_everything(tiny_config: Path) -> TrainingConfig:
    """Everything that has a state: two phases, dropout, averages, decay, drawn views."""
    phase = {"batch_size": 9, "averaging": 0.9, "weight_decay": 0.1, "epochs": 2}
    document = read_config(tiny_config).model_dump()
    document["network"] |= {
        "system": "tiny",
        "backbone": {"side_px": 32},
        "dropout": 0.5,
        "standardize": 0.1,
    }
    document["sampling"] = {"balance": "case_and_label"}
    document["head"] |= phase
    document["fine_tune"] |= {**phase, "learning_rate": 1e-3, "first_layer": "conv2"}
    return TrainingConfig.model_validate(document)


def require_same(one: Fitted, other: Fitted) -> None:
    assert one.history == other.history
    np.testing.assert_array_equal(one.test_logits, other.test_logits)
    for a, b in zip(
        [*one.backbone_weights, *one.head_weights],
        [*other.backbone_weights, *other.head_weights],
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("eagerly")
def test_fit_resumes_in_the_middle_of_an_epoch(
    tiny_config: Path,
    tmp_path: Path,
    drawn_index: Index,
    drawn_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = with_everything(tiny_config)
    tiles = TileStream(drawn_index, drawn_dir, config.network.input_side_px)
    classes, groups = class_indices_of(drawn_index), Groups.of(drawn_index)
    features = prepare_features(tiles, classes, config, groups)

    def fit(checkpoints: CheckpointDir, seed: int = 3) -> Fitted:
        return fit_classifier(features, config, np.arange(9), np.arange(9, 12), seed, checkpoints)

    whole = fit(NO_CHECKPOINTS)
    # 18 training views in batches of 9 are two steps an epoch; a phase ends with one more file.
    # So the head is stopped in its second epoch, then the fine-tuning in its first.
    for n_files in (3, 3):
        checkpoints = Stopping(tmp_path, every_s=0)
        checkpoints.n_left = n_files
        with pytest.raises(KeyboardInterrupt):
            fit(checkpoints)
    fit(NO_CHECKPOINTS, seed=4)  # another fit must not change this one
    require_same(fit(CheckpointDir(tmp_path)), whole)

    # Both phases are saved now, so nothing is trained, except the phase whose file is damaged.
    damaged = sorted(tmp_path.glob("*.npz"))[-1]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    require_same(fit(CheckpointDir(tmp_path)), whole)
    assert f"{damaged.name} is damaged" in capsys.readouterr().err


@pytest.mark.usefixtures("eagerly")
def test_fit_resumes_after_ctrl_c_and_kill_9(
    drawn_dir: Path, tmp_path: Path, tiny_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SYSTEMS, FROM_SCRATCH.name, FROM_SCRATCH)
    monkeypatch.chdir(tmp_path)
    for name in ("OSTEO_DATA_DIR", "OSTEO_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    network = f'system = "{FROM_SCRATCH.name}"\nbackbone.side_px = 32\ndropout = 0.5\n'
    text = tiny_config.read_text().replace("[network]\n", f"[network]\n{network}")
    # The 12 training views are two steps an epoch.
    text = text.replace("epochs = 2", "epochs = 2\nbatch_size = 7").partition("[fine_tune]")[0]
    tiny_config.write_text(text)
    succeed("index", "--data-dir", drawn_dir, "--tile-side-px", 128)
    succeed("split", "--kind", "slide", "--folds", 2)
    runs = tmp_path / "runs"
    paths = {
        "--data-dir": drawn_dir,
        "--config": tiny_config,
        "--index": runs / "index.json",
        "--split": runs / "slide.json",
    }
    given = [str(word) for pair in paths.items() for word in pair]
    out = tmp_path / "stopped"

    log_file = tmp_path / "log"
    with forked("fit", *given, "--out", out, log_file=log_file, code=AFTER_A_STEP) as process:
        wait_for(lambda: any(out.glob("unfinished/*/fold-000/whole.npz")), process)
        process.kill()
    write_file = CheckpointDir.write

    def write_and_stop(
        checkpoints: CheckpointDir, name: str, write: Callable[[BinaryIO], Any]
    ) -> None:
        write_file(checkpoints, name, write)
        if name == "whole.npz" and any(out.glob("unfinished/*/fold-000/fold.json")):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("training.fit.checkpoint_dir.CHECKPOINT_EVERY_S", 0)
        patched.setattr(CheckpointDir, "write", write_and_stop)
        stopped = run("fit", *given, "--out", out)
    assert stopped.exit_code == 130, stopped.output
    said = " ".join(stopped.output.split())
    assert "Resuming from" in said
    assert "Run the same command again: it resumes where it stopped." in said
    assert not (out / "run.json").exists()

    said = run("fit", *given, "--out", out).output
    assert "Already finished by slide: 1 of 2 folds" in " ".join(said.split())
    assert not (out / "unfinished").exists()
    succeed("fit", *given, "--out", "whole")
    one, other = (
        json.loads((tmp_path / name / "run.json").read_text()) for name in ("stopped", "whole")
    )
    # Exactly, because every process has one thread (tests/__init__.py), which adds in one order.
    for name in ("history", "answers"):
        assert one[name] == other[name]
    assert "Already finished by slide" in " ".join(succeed("fit", *given, "--out", out).split())
