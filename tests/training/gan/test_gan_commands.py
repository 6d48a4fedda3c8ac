"""The commands of the GAN: refused in one sentence, or resumed where they stopped."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.training.command_line import run, succeed, wait_for
from tests.training.forked import COMMAND, forked
from training.gan.record import read_record
from training.gan.trainer import CHECKPOINT_NAME, Gan

pytestmark = pytest.mark.tensorflow


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OSTEO_DATA_DIR", "OSTEO_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("[sampling]\nbalance = 'case'\n[gan]\nproportion = 0.5", "a synthetic tile has no slide"),
        ("[gan]\nproportion = -1", "gan.proportion"),
        ("[gan]\nproportions = 1", "there is no such key"),
    ],
)
def test_fit_refuses_contradictory_settings(tiny_config: Path, section: str, says: str) -> None:
    tiny_config.write_text(f"{tiny_config.read_text()}\n{section}\n")
    result = run("fit", "--data-dir", ".", "--out", "run", "--config", tiny_config)
    assert result.exit_code == 1
    assert says in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("gan", "fit", "--data-dir", ".", "--side-px", "100"), "--side-px"),
        (("gan", "sample", "nowhere", "--out", "out"), "osteo-train gan fit"),
    ],
)
def test_wrong_input_is_one_sentence(arguments: tuple[str, ...], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert says in " ".join(result.output.split())


EVERY_STEP = f"""
import tensorflow
tensorflow.config.run_functions_eagerly(True)
from training.gan import record, trainer
trainer.CHECKPOINT_EVERY = 1
settings = record.GanSettings
for name, value in {{"tiles_per_epoch": 4, "batch_size": 4, "width": 8}}.items():
    settings.model_fields[name].default = value
settings.model_rebuild(force=True)
{COMMAND}
"""
"""The command, not compiled, with a checkpoint after each epoch of one small step."""


def test_gan_fit_resumes_after_ctrl_c(drawn_dir: Path) -> None:
    succeed("index", "--data-dir", drawn_dir, "--tile-side-px", 128)
    out = Path("gan").absolute()
    index = Path("runs/index.json").absolute()
    given = ["gan", "fit", "--data-dir", drawn_dir, "--index", index, "--side-px", 32]
    more = ["--epochs", 5000, "--seed", 3, "--out", out]
    log_file = Path("log").absolute()
    with forked(*given, *more, log_file=log_file, code=EVERY_STEP) as process:
        wait_for((out / "all" / "losses.csv").exists, process)
        process.send_signal(signal.SIGINT)
        said = process.communicate()
    assert process.returncode == 130, said
    assert "it resumes where it stopped" in said
    assert list((out / "all").glob("grid-epoch-0001.png"))
    gan = Gan(read_record(out / "all").settings)
    gan.load(out / "all" / CHECKPOINT_NAME)
    assert len(gan.losses) >= 1
