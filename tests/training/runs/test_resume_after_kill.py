"""A fit that is stopped anywhere ends with the weights of one that was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from tests.training.command_line import run, started, succeed, wait_for
from training.config import TrainingConfig, read_config
from training.data.index import Index
from training.data.tiles import TileStream
from training.fit.sampling import Groups
from training.fit.trainer import Fitted, Trainer
from training.runs.records import class_indices_of
from training.runs.resume import Work

pytestmark = pytest.mark.tensorflow

EVERY_STEP = """
from training.cli import app
from training.runs import resume

resume.CHECKPOINT_EVERY_S = 0
app()
"""
"""The command, with a checkpoint after every step rather than after half a minute."""


class Stopping(Work):
    """Kept work that is stopped, as Ctrl-C does, when it has written so many files."""

    n_left: int

    def write(self, name: str, write: Callable[[BinaryIO], Any]) -> None:
        super().write(name, write)
        self.n_left -= 1
        if self.n_left == 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def trainer_of(drawn_index: Index, drawn_dir: Path) -> Callable[[TrainingConfig], Trainer]:
    def make(config: TrainingConfig) -> Trainer:
        tiles = TileStream(drawn_index, drawn_dir, config.network.input_side_px)
        return Trainer(tiles, class_indices_of(drawn_index), config, Groups.of(drawn_index))

    return make


def with_everything(tiny_config: Path) -> TrainingConfig:
    """Whatever has a state: two heads, dropout, averages, decay, mixtures, drawn views."""
    phase = {"batch_size": 5, "mixup": 0.2, "averaging": 0.9, "weight_decay": 0.1, "epochs": 2}
    document = read_config(tiny_config).model_dump()
    document["network"] |= {"side_px": 32, "n_heads": 2, "dropout": 0.5, "standardize": 0.1}
    document["sampling"] = {"balance": "case_and_label"}
    document["head"] |= phase
    document["fine_tune"] |= {**phase, "mix_style": 0.1, "learning_rate": 1e-3}
    return TrainingConfig.model_validate(document)


def from_scratch(tiny_config: Path) -> TrainingConfig:
    document = read_config(tiny_config).model_dump()
    document["network"] |= {"system": "ahmed-cnn", "side_px": 32, "dropout": 0.5}
    document["fine_tune"] = {"epochs": 0}
    return TrainingConfig.model_validate(document)


def require_same(one: Fitted, other: Fitted) -> None:
    assert one.history == other.history
    np.testing.assert_array_equal(one.test_logits, other.test_logits)
    for a, b in zip(
        [*one.base_weights, *one.head_weights],
        [*other.base_weights, *other.head_weights],
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_fit_goes_on_in_the_middle_of_an_epoch(
    tiny_config: Path,
    tmp_path: Path,
    trainer_of: Callable[[TrainingConfig], Trainer],
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = trainer_of(with_everything(tiny_config))
    train, test = np.arange(9), np.arange(9, 12)
    whole = trainer.fit(train, test, seed=3)
    # Of 18 training views a batch is 5: four steps an epoch, and a file more at a phase's end. So
    # the second head is stopped in its second epoch, then the base in its first.
    for n_files in (15, 5):
        work = Stopping(tmp_path, every_s=0)
        work.n_left = n_files
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(train, test, 3, work)
    trainer.fit(train, test, seed=4)  # what another fit leaves behind must not matter
    require_same(trainer.fit(train, test, 3, Work(tmp_path)), whole)

    # All phases are kept now, so that nothing is trained; but one of them is damaged.
    damaged = sorted(tmp_path.glob("*.npz"))[-1]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    require_same(trainer.fit(train, test, 3, Work(tmp_path)), whole)
    assert f"{damaged.name} is damaged" in capsys.readouterr().err


def test_fit_survives_ctrl_c_and_kill_9(
    drawn_dir: Path, tmp_path: Path, tiny_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OSTEO_DATA_DIR", "OSTEO_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    config = from_scratch(tiny_config)
    text = tiny_config.read_text().replace('weights = "none"', 'weights = "none"\nside_px = 32')
    text = text.replace("weights =", 'system = "ahmed-cnn"\ndropout = 0.5\nweights =', 1)
    text = text.replace("epochs = 2", "epochs = 12").partition("[fine_tune]")[0]
    tiny_config.write_text(text)
    assert read_config(tiny_config).network == config.network
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

    with started("fit", *given, "--out", out, code=EVERY_STEP) as process:
        wait_for(lambda: any(out.glob("unfinished/*/fold-000/whole.npz")), process)
        process.kill()
    keep = Work.write

    def keep_and_stop(work: Work, name: str, write: Callable[[BinaryIO], Any]) -> None:
        keep(work, name, write)
        if name == "whole.npz" and any(out.glob("unfinished/*/fold-000/fold.json")):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("training.runs.resume.CHECKPOINT_EVERY_S", 0)
        patched.setattr(Work, "write", keep_and_stop)
        stopped = run("fit", *given, "--out", out)
    assert stopped.exit_code == 130, stopped.output
    said = " ".join(stopped.output.split())
    assert "Going on with what is kept" in said
    assert "Run the same command again: it resumes where it stopped." in said
    assert not (out / "run.json").exists()

    said = run("fit", *given, "--out", out).output
    assert "Kept by slide: 1 of 2 folds" in " ".join(said.split())
    assert not (out / "unfinished").exists()
    succeed("fit", *given, "--out", "whole")
    one, other = (
        json.loads((tmp_path / name / "run.json").read_text()) for name in ("stopped", "whole")
    )
    assert one["history"] == other["history"]
    assert one["answers"] == other["answers"]
    assert "is finished" in " ".join(succeed("fit", *given, "--out", out).split())
