"""Table systems through the commands, from a drawn table to metrics, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tests.training.command_line import run, succeed
from tests.training.conftest import write_collection
from tests.training.table.drawing import Rows, write_config, write_table
from training.config import CONFIGS_DIR, read_config
from training.data.feature_columns import BOOKKEEPING_COLUMNS
from training.errors import ConfigError
from training.networks.registry import find_system, require_known
from training.networks.table_systems import TABLE_SYSTEMS
from training.runs.records import read_cross_validation

Words = tuple[object, ...]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OSTEO_DATA_DIR", raising=False)
    monkeypatch.setenv("OSTEO_WEIGHTS", "no-such-weights.h5")  # set for the systems of pixels
    monkeypatch.chdir(tmp_path)


def prepare(config: Path, change: Callable[[Rows], object] = lambda _: None) -> None:
    """Index a drawn table in `data`, and split it by patient."""
    write_table(Path("data"), change)
    succeed("index", "--config", config, "--data-dir", "data")
    succeed("split", "--kind", "patient")


def fit(config: Path, out: str = "runs/patient", *more: object) -> Result:
    words: Words = ("--config", config, "--data-dir", "data", "--out", out, *more)
    return run("fit", *words)


def fit_by_patient(config: Path, out: str = "runs/patient") -> None:
    result = fit(config, out, "--split", "runs/patient.json")
    assert result.exit_code == 0, result.output


def refused(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    "system", ["texture-svm", pytest.param("table-svm", marks=pytest.mark.exhaustive)]
)
def test_table_system_goes_through_every_step(tmp_path: Path, system: str) -> None:
    config = write_config(tmp_path / "c.toml", system)
    write_table(Path("data"), lambda rows: rows[5].update({"area": "NA"}))
    shown = succeed("index", "--config", config, "--data-dir", "data")
    assert "1 value not measured, in 1 row." in shown
    assert "36 tiles of 6 slides; 0 left out." in shown
    for kind, folds in (("random", 3), ("slide", 2), ("patient", 3)):
        repaired = ("--overlaps", "repair", "--footprint-px", 1024) if kind == "random" else ()
        succeed("split", "--kind", kind, "--folds", folds, *repaired)
        result = fit(config, f"runs/{kind}", "--split", f"runs/{kind}.json")
        assert "of 36 correct. Next: osteo-train evaluate" in result.output, result.output
    temperature = json.loads(succeed("temperature", "runs/slide").splitlines()[-1])["temperature"]
    shown = succeed("evaluate", "runs/patient", "--temperature", temperature)
    assert "not measured" not in shown
    assert "Case 48" in shown
    assert "Mixed tiles: left out." in shown
    metrics = json.loads(Path("runs/patient/metrics.json").read_text())
    assert metrics["accuracy"] > 0.8
    assert [fold["name"] for fold in metrics["folds"]] == ["Case 3", "Case 4", "Case 48"]
    assert Path("runs/patient/confusion.png").is_file()
    assert "Already finished" in fit(config, "runs/slide", "--split", "runs/slide.json").output


def test_answers_do_not_depend_on_the_order_and_the_numbers_of_the_rows(tmp_path: Path) -> None:
    def reorder(rows: Rows) -> None:
        rows.sort(key=lambda row: row["area"])
        for row in rows:
            row.update(dict.fromkeys(BOOKKEEPING_COLUMNS, "0"))

    config = write_config(tmp_path / "c.toml", "table-svm")
    prepare(config)
    fit_by_patient(config, "runs/sorted")
    prepare(config, reorder)
    fit_by_patient(config, "runs/reordered")
    one, other = (read_cross_validation(Path("runs") / name) for name in ("sorted", "reordered"))
    assert one.answers == other.answers
    assert one.index_sha256 != other.index_sha256  # the tables are different files


def test_the_run_records_that_there_are_no_weights(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml")
    prepare(config)
    fit_by_patient(config)
    identity = read_cross_validation(Path("runs/patient")).identity
    assert identity is not None
    assert identity.weights == "none"


def test_fit_refuses_a_table_that_has_changed(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml")
    prepare(config)
    write_table(Path("data"), lambda rows: rows[0].update({"area": "7"}))
    assert "has changed since it was indexed" in refused(
        fit(config, "run", "--split", "runs/patient.json")
    )


def test_index_names_row_and_column_of_a_wrong_value(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml")
    write_table(Path("data"), lambda rows: rows[1].update({"circularity": "inf"}))
    result = run("index", "--config", config, "--data-dir", "data")
    assert "ML_Features_drawn.csv, line 3: the features of a row must be numbers" in refused(result)
    assert "circularity is 'inf', which is not a finite number" in refused(result)
    assert "35 tiles" in succeed("index", "--config", config, "--data-dir", "data", "--skip")


def test_index_refuses_a_layout_of_tiles(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml")
    write_table(Path("data"))
    result = run("index", "--config", config, "--data-dir", "data", "--layout", "collection")
    assert "reads a feature table. Leave out --layout." in refused(result)


def test_no_bundle_can_be_made_of_a_table_system(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml")
    prepare(config)
    fit_by_patient(config)
    data = ("--data-dir", "data")
    for result in (
        fit(config, "runs/final"),
        run("export", "runs/final", "--run", "runs/patient", *data),
        run("export", "runs/patient", "--run", "runs/nowhere", *data),
        run("release", "--config", config, *data),
    ):
        assert "cannot classify a tile and no bundle can be made of it" in refused(result)
    assert "--split is missing" in refused(fit(config, "runs/final"))


def test_an_index_and_a_system_must_read_the_same(tmp_path: Path, tiny_config: Path) -> None:
    config = write_config(tmp_path / "c.toml")
    prepare(config)
    words = ("fit", "--config", tiny_config, "--data-dir", "data", "--weights", "none")
    said = refused(run(*words, "--out", "run"))
    assert "lists tiles of a feature table, but 'mobilenetv2' reads pixels" in said

    tiles = write_collection(
        Path("tiles"), [(f"Case 4 C{i}-1-2", "non_tumor") for i in (1, 2)], 128
    )
    succeed("index", "--config", tiny_config, "--data-dir", tiles, "--out", "tiles.json")
    said = refused(fit(config, "run", "--index", "tiles.json"))
    assert "lists tiles of pixels, but 'texture-svm' reads a feature table" in said


@pytest.mark.parametrize("command", [("ablate",), ("study",), ("gan", "fit")])
def test_commands_that_need_pixels_refuse_the_index(tmp_path: Path, command: Words) -> None:
    prepare(write_config(tmp_path / "c.toml"))
    said = refused(run(*command, "--data-dir", "data"))
    assert "index.json lists rows of a feature table, but this command needs pixels" in said


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("[head]\nepochs = 9\nlearning_rate = 1e-3", "head"),
        ("[augment]\nn_views = 3", "augment"),
        ('[sampling]\nbalance = "label"', "sampling"),
        ("dropout = 0.5", r"network\.dropout"),
        ("backbone.side_px = 224", r"network\.backbone"),
    ],
)
def test_read_config_refuses_a_setting_without_effect(
    tmp_path: Path, section: str, key: str
) -> None:
    path = write_config(tmp_path / "c.toml")
    path.write_text(path.read_text() + section)
    with pytest.raises(ConfigError, match=rf"{key} must be left out: The support vector machine"):
        read_config(path)


def test_find_system_refuses_a_system_that_reads_a_table() -> None:
    with pytest.raises(ValueError, match="'texture-svm' reads a feature table, not pixels"):
        find_system("texture-svm")
    with pytest.raises(ValueError, match=r"one of mobilenetv2, .*, texture-svm, table-svm$"):
        require_known("textures")


@pytest.mark.parametrize("system", TABLE_SYSTEMS)
def test_each_table_system_has_a_configuration(system: str) -> None:
    config = read_config(CONFIGS_DIR / f"{system}.toml")
    assert config.network.system == system
    assert config.data.mixed_tiles == "exclude"


def test_systems_says_what_table_systems_read() -> None:
    shown = " ".join(succeed("systems").replace("│", " ").split())
    assert "reads the 53 texture measures of the collection's feature table" in shown
    assert "reads all 62 features of the collection's feature table" in shown
