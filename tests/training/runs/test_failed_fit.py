"""A fit that fails leaves nothing that somebody could take for its result."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.training.command_line import run, succeed
from tests.training.conftest import TINY_CONFIG
from tests.training.eager import run_eagerly
from tests.training.forked import forked
from tests.training.tiny_system import TINY
from training.networks.registry import SYSTEMS

pytestmark = pytest.mark.tensorflow

FAILING_IN_FOLD_2 = """
import os, signal, tensorflow
tensorflow.config.run_functions_eagerly(True)
from tests.training.tiny_system import register
from training.runs import cross_validation
register()
fit_fold, calls = cross_validation._fit_fold, []
def failing(*given):
    if calls:
        {failure}
    calls.append(given)
    return fit_fold(*given)
cross_validation._fit_fold = failing
from training.cli import app; app()
"""
FAILURES = {
    "exception": ("raise RuntimeError('broken')", 1),
    "full disk": ("raise OSError(28, 'No space left on device')", 1),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", -9),
}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def finished_dir(drawn_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration, an index, a split and a finished, evaluated run."""
    folder = tmp_path_factory.mktemp("finished")
    network = '[network]\nsystem = "tiny"\n'
    text = TINY_CONFIG.partition("[fine_tune]")[0].replace("[network]\n", network)
    (folder / "tiny.toml").write_text(text)
    with pytest.MonkeyPatch.context() as monkeypatch, run_eagerly():
        monkeypatch.setitem(SYSTEMS, TINY.name, TINY)
        monkeypatch.chdir(folder)
        monkeypatch.delenv("OSTEO_WEIGHTS", raising=False)
        succeed("index", "--data-dir", drawn_dir, "--tile-side-px", 128)
        succeed("split", "--kind", "slide", "--folds", 2)
        given = ("--data-dir", drawn_dir, "--config", "tiny.toml", "--split", "runs/slide.json")
        succeed("fit", *given, "--out", "runs/slide")
        succeed("evaluate", "runs/slide")
    return folder


@pytest.mark.parametrize(
    "failure", ["exception", pytest.param("full disk", marks=pytest.mark.exhaustive), "SIGKILL"]
)
@pytest.mark.usefixtures("eagerly")
def test_a_failed_fit_leaves_nothing_that_looks_finished(
    failure: str,
    finished_dir: Path,
    drawn_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SYSTEMS, TINY.name, TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OSTEO_WEIGHTS", raising=False)
    shutil.copytree(finished_dir, tmp_path, dirs_exist_ok=True)
    config, runs = tmp_path / "tiny.toml", tmp_path / "runs"
    out = runs / "slide"
    given: list[object] = ["fit", "--data-dir", drawn_dir, "--config", config]
    given += ["--index", runs / "index.json", "--split", runs / "slide.json", "--out", out]
    finished = {path.name for path in out.iterdir()}
    assert {"run.json", "metrics.json", "epochs.png", "tensorboard"} < finished

    config.write_text(config.read_text().replace("seed = 1", "seed = 2", 1))
    what, code = FAILURES[failure]
    program = FAILING_IN_FOLD_2.format(failure=what)
    with forked(*given, log_file=tmp_path / "log", code=program) as process:
        said = " ".join(process.communicate().split())
    assert process.returncode == code, said
    assert f"The finished run in {out} has other settings (configuration)" in said
    assert names_in(out) == ["previous", "unfinished"]
    assert set(names_in(out / "previous")) == finished
    for command in ("evaluate", "temperature", "compare"):
        refused = run(command, out)
        assert refused.exit_code == 1
        assert "run.json: No such file" in " ".join(refused.output.split())

    said = " ".join(succeed(*given).split())
    assert "Already finished by slide: 1 of 2 folds" in said
    assert names_in(out) == ["previous", "run.json", "tensorboard"]
    assert names_in(out / "tensorboard") == ["fold 1", "fold 2"]
    succeed("compare", out, out / "previous")
