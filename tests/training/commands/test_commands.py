"""The commands as a user runs them, from drawn tiles to a bundle that the service opens."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.bundle import open_bundle, read_golden_tiles
from app.core.tile import decode_tile
from tests.training.command_line import run, succeed
from tests.training.progress_bars import Bars, bars, require_moving
from training.cli import app
from training.data.index import read_index
from training.features.extract import read_tiles

__all__ = ["bars"]
COMMANDS = (
    *("index", "split", "fit", "evaluate", "temperature", "export", "release", "study", "ablate"),
    *("calibrate", "robustness", "gate"),
)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OSTEO_DATA_DIR", "OSTEO_WEIGHTS"):  # they would override the tiny configuration
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def small_config(tiny_config: Path) -> Path:
    """A configuration of a network with few layers."""
    text = tiny_config.read_text()
    for old, new in (
        ("[network]\n", '[network]\nsystem = "tiny"\nbackbone.side_px = 32\n'),
        ('first_layer = "Conv_1"\n', ""),
    ):
        assert old in text
        text = text.replace(old, new)
    tiny_config.write_text(text)
    return tiny_config


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str) -> None:
    assert f"osteo-train {command}" in " ".join(succeed(command, "--help").split())


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from training.cli import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("index", "--data-dir", "nowhere"), "nowhere is not a folder"),
        (("split", "--index", "nowhere.json"), "osteo-train index"),
        (("fit", "--data-dir", ".", "--out", "run", "--config", "no.toml"), "No such file"),
        (("evaluate", "nowhere"), "osteo-train fit --split"),
        (("temperature", "nowhere"), "osteo-train fit --split"),
        (("export", "nowhere", "--run", "nowhere", "--data-dir", "."), "without --split"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_1(arguments: tuple[str, ...], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert says in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_index_fails_on_a_problem_or_leaves_the_tile_out(collection: Path) -> None:
    (collection / "Training-Set-1/set1/Case-4-C0-100-200.jpg").write_bytes(b"")
    arguments = ("index", "--data-dir", collection, "--tile-side-px", 128)
    strict = run(*arguments)
    assert strict.exit_code == 1
    assert "C0-100-200.jpg: the file must be an image" in strict.output
    output = succeed(*arguments, "--skip")
    assert "left out: Training-Set-1" in output
    assert "2 tiles of 2 slides; 1 left out" in output


@pytest.mark.tensorflow
def test_fit_refuses_missing_weights_before_any_work(drawn_dir: Path, tiny_config: Path) -> None:
    succeed("index", "--data-dir", drawn_dir, "--tile-side-px", 128)
    result = run(
        "fit", "--data-dir", drawn_dir, "--config", tiny_config, "--out", "r", "--weights", "w.h5"
    )
    assert result.exit_code == 1
    assert "There are no weights at w.h5" in result.output


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "command",
    [("fit", "--out", "run"), ("ablate",), ("study",), ("gan", "fit"), ("release",)],
    ids=lambda command: command[0],
)
def test_commands_refuse_a_label_with_one_tile_before_any_work(
    collection: Path, small_config: Path, command: tuple[str, ...]
) -> None:
    succeed("index", "--data-dir", collection, "--tile-side-px", 128)
    given = ("--config", small_config) if command[0] in ("fit", "release") else ()
    weights = () if command[0] in ("study", "gan") else ("--weights", "none")
    result = run(*command, "--data-dir", collection, *given, *weights)
    assert result.exit_code == 1
    assert "1 of viable_tumor" in " ".join(result.output.split())


@pytest.mark.parametrize(
    "command",
    [
        ("index", "--tile-side-px", 128, "--out", "file/index.json"),
        ("split", "--kind", "patient", "--out", "file/patient.json"),
        ("ablate", "--ablation", "ablation.toml", "--out", "file/ablation"),
        ("release", "--models-dir", "file/models"),
        ("release", "--runs-dir", "file/runs"),
        ("fit", "--out", "file/run"),
    ],
    ids=lambda command: " ".join(str(word) for word in command),
)
@pytest.mark.tensorflow
def test_commands_report_a_folder_that_is_not_writable_in_one_sentence(
    drawn_dir: Path, small_config: Path, command: tuple[object, ...]
) -> None:
    Path("file").write_bytes(b"")
    recipe = '[[recipe]]\nname = "plain"\n'
    Path("ablation.toml").write_text(f'base = "{small_config}"\n{recipe}')
    succeed("index", "--data-dir", drawn_dir, "--tile-side-px", 128)
    data = () if command[0] == "split" else ("--data-dir", drawn_dir)
    config = ("--config", small_config) if command[0] in ("fit", "release") else ()
    result = run(*command, *data, *config)
    said = " ".join(result.output.split())
    assert result.exit_code == 1, said
    assert "Traceback" not in said
    assert "file cannot be written (File exists)" in said or "cannot be written (Not a dir" in said


@pytest.mark.tensorflow
def test_release_refuses_a_full_disk_before_any_work(
    drawn_dir: Path, small_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=2**21))
    result = run("release", "--data-dir", drawn_dir, "--config", small_config)
    assert result.exit_code == 1
    assert "The bundle needs" in " ".join(result.output.split())
    assert not Path("runs/index.json").exists()


@pytest.mark.tensorflow
def test_fit_refuses_an_index_with_another_mixed_tile_setting(
    drawn_dir: Path, tiny_config: Path
) -> None:
    given = ("--data-dir", drawn_dir)
    succeed("index", *given, "--tile-side-px", 128, "--mixed-tiles", "exclude")
    result = run("fit", *given, "--config", tiny_config, "--out", "run")
    assert result.exit_code == 1
    assert "data.mixed_tiles = 'viable'" in " ".join(result.output.split())


def test_training_reads_tiles_as_the_service_does(drawn_dir: Path) -> None:
    succeed("index", "--data-dir", drawn_dir, "--tile-side-px", 128)
    index, _ = read_index(Path("runs/index.json"))
    for tile, entry in zip(read_tiles(index, drawn_dir), index.tiles, strict=True):
        np.testing.assert_array_equal(tile, decode_tile((drawn_dir / entry.file).read_bytes()))


@pytest.mark.exhaustive
@pytest.mark.tensorflow
@pytest.mark.usefixtures("eagerly")
def test_release_runs_every_step_and_resumes_where_it_stopped(
    drawn_dir: Path,
    small_config: Path,
    tmp_path: Path,
    bars: Bars,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("training.reliability.bundle_assessment.MAX_TILES", 4)
    release = ("release", "--data-dir", drawn_dir, "--config", small_config)
    bundle_dir = tmp_path / "models" / "drawn" / "1"
    runs = [tmp_path / "runs" / kind / "run.json" for kind in ("random", "slide", "patient")]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("training.release.pipeline.assemble_bundle", stop)
        assert run(*release).exit_code == 130
    before = [path.read_bytes() for path in runs]
    # What a kill leaves while the bundle or the run by patient is being written.
    (bundle_dir / "saved_model").mkdir(parents=True)
    runs[2].write_text('{"schema_version": 1, "kind"')
    output = succeed(*release)
    for line in (
        "Already finished by random",
        "Already finished by slide",
        "Cross-validated by patient: 2 folds.",
        "Already finished: the fit",
    ):
        assert line in output
    assert "the runtimes agree" in output
    assert [path.read_bytes() for path in runs] == before

    bundle = open_bundle(bundle_dir)
    assert [entry.split for entry in bundle.manifest.metrics] == ["random", "slide", "patient"]
    patient = bundle.manifest.metrics[2]
    assert [fold.name for fold in patient.folds] == ["Case 3", "Case 48"]
    assert {golden.name for golden in read_golden_tiles(bundle)} == {
        f"drawn_{label}.png" for label in bundle.manifest.label_ids
    }
    require_moving(bars)
    assert "accuracy" in succeed("evaluate", "runs/slide", "--temperature", 1.5)
    again = run(*release)
    assert again.exit_code == 1
    assert "a released bundle never changes" in " ".join(again.output.split())


def test_missing_training_package_is_one_sentence(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index.json"
    options = ["--data-dir", str(collection), "--out", str(index), "--tile-side-px", "128"]
    assert CliRunner().invoke(app, ["index", *options]).exit_code == 0
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    run = CliRunner().invoke(app, ["split", "--index", str(index), "--kind", "patient"])
    assert run.exit_code == 1
    assert "make train" in run.output
