from __future__ import annotations

import csv
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.bundle import find_bundle
from app.cli.commands import app
from tests.bundles import MODEL_NAME, encode, plain_tile
from tests.conftest import RELEASED_MODELS

runner = CliRunner()


fake_model = pytest.mark.usefixtures("runtime")


@pytest.fixture(autouse=True)
def _released_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test gets that does not use `fake_model`."""
    monkeypatch.setenv("OSTEO_MODELS_DIR", str(RELEASED_MODELS))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tiles, one of them in a subfolder, and a file that is not a tile."""
    tiles = tmp_path / "tiles"
    (tiles / "deeper").mkdir(parents=True)
    (tiles / "a.PNG").write_bytes(plain_tile((200, 100, 150)))
    (tiles / "deeper" / "b.tiff").write_bytes(plain_tile((250, 250, 250), 300, "TIFF"))
    (tiles / "notes.txt").write_text("not a tile")
    return tiles


@fake_model
def test_classify_prints_a_table(folder: Path) -> None:
    run = runner.invoke(app, ["classify", str(folder)])
    assert run.exit_code == 0, run.output
    assert "a.PNG" in run.output
    assert "b.tiff" in run.output
    assert "notes.txt" not in run.output
    assert "Not a medical device" in run.output


def test_classify_prints_csv(folder: Path) -> None:
    run = runner.invoke(app, ["classify", str(folder), "--format", "csv"])
    assert run.exit_code == 0
    rows = list(csv.DictReader(run.stdout.splitlines()))
    assert [Path(row["path"]).name for row in rows] == ["a.PNG", "b.tiff"]
    for row in rows:
        labels = ("non_tumor", "non_viable_tumor", "viable_tumor")
        assert sum(float(row[label]) for label in labels) == pytest.approx(1, abs=1e-5)


@fake_model
def test_csv_columns_keep_their_positions(folder: Path) -> None:
    run = runner.invoke(app, ["classify", str(folder), "--format", "csv"])
    header, first, *_ = run.stdout.splitlines()
    assert header == (
        "path,prediction,non_tumor,non_viable_tumor,viable_tumor,tumor_probability,tile_sha256,"
        "bundle_sha256,error,prediction_set,review,review_priority"
    )
    assert first.count(",") == header.count(",")


@fake_model
@pytest.mark.parametrize("output_format", ["table", "csv", "json"])
def test_classify_says_why_a_tile_needs_review(folder: Path, output_format: str) -> None:
    (folder / "deeper" / "wide.png").write_bytes(encode(np.full((80, 200, 3), 190, np.uint8)))
    run = runner.invoke(app, ["classify", str(folder / "deeper"), "--format", output_format])
    assert run.exit_code == 0, run.output
    if output_format == "csv":
        rows = {Path(row["path"]).name: row for row in csv.DictReader(run.stdout.splitlines())}
        assert {"not_square", "too_small"} <= set(rows["wide.png"]["review"].split())
        assert "not_square" not in rows["b.tiff"]["review"]
        assert float(rows["wide.png"]["review_priority"]) == 1
        assert 0 <= float(rows["b.tiff"]["review_priority"]) <= 1
        assert rows["wide.png"]["prediction"] in rows["wide.png"]["prediction_set"].split()
    elif output_format == "json":
        by_name = {Path(document["path"]).name: document for document in json.loads(run.stdout)}
        review = by_name["wide.png"]["review"]
        assert review["required"] is True
        assert {"not_square", "too_small"} <= set(review["reasons"])
        assert review["priority"] == 1
        assert by_name["wide.png"]["prediction_set"]["status"] == "available"
    else:
        assert "review" in run.output
        assert "not_square" in run.output


@fake_model
def test_classify_prints_json_as_the_service_answers(folder: Path) -> None:
    run = runner.invoke(app, ["classify", str(folder / "a.PNG"), "--format", "json"])
    (document,) = json.loads(run.stdout)
    assert {"path", "prediction", "probabilities", "model", "tile", "timing"} <= set(document)


@fake_model
def test_bad_file_is_reported_and_the_others_are_classified(folder: Path) -> None:
    (folder / "bad.jpg").write_bytes(b"not an image")
    run = runner.invoke(app, ["classify", str(folder), "--format", "csv"])
    assert run.exit_code == 1
    rows = {Path(row["path"]).name: row for row in csv.DictReader(run.stdout.splitlines())}
    assert "not an image" in rows["bad.jpg"]["error"]
    assert rows["a.PNG"]["prediction"]
    assert "1 of 3 files" in run.stderr


@fake_model
def test_named_file_is_tried_with_any_suffix(folder: Path) -> None:
    run = runner.invoke(app, ["classify", str(folder / "notes.txt"), "--format", "csv"])
    assert run.exit_code == 1
    assert "not an image" in run.stdout


@fake_model
def test_missing_path_is_rejected(tmp_path: Path) -> None:
    run = runner.invoke(app, ["classify", str(tmp_path / "nowhere")])
    assert run.exit_code == 2
    assert "nowhere" in run.stderr


@fake_model
def test_missing_path_beside_others_is_a_row(folder: Path) -> None:
    nowhere = folder / ":smile:[red]nowhere"
    run = runner.invoke(app, ["classify", str(folder), str(nowhere), "-f", "csv"])
    assert run.exit_code == 1
    *_tiles, last = csv.DictReader(run.stdout.splitlines())
    assert (last["path"], last["error"]) == (str(nowhere), "There is no such file or folder.")
    assert (
        f"No such file or folder: {nowhere}."
        in runner.invoke(app, ["classify", str(nowhere)]).stderr
    )


@fake_model
@pytest.mark.parametrize("argument", ["", "-"])
def test_argument_that_names_no_file_is_refused(folder: Path, argument: str) -> None:
    run = runner.invoke(app, ["classify", str(folder), argument])
    assert (run.exit_code, run.stdout) == (2, "")
    assert "path was given" in run.stderr or "Standard input is not read" in run.stderr


@fake_model
def test_skipped_files_are_named(folder: Path) -> None:
    (folder / "case.svs").write_bytes(b"")
    (folder / "._a.PNG").write_bytes(bytes(4096))
    run = runner.invoke(app, ["classify", str(folder), "-f", "csv"])
    assert run.exit_code == 0
    assert len(run.stdout.splitlines()) == 3
    assert (
        "Skipped 1 .svs (whole slides: cut tiles from them), 1 .txt, 1 macOS companion (._*)."
    ) in run.stderr


@fake_model
def test_sort_review_prints_tiles_to_look_at_first(folder: Path) -> None:
    golden = find_bundle(RELEASED_MODELS, MODEL_NAME) / "golden"
    arguments = ["classify", str(golden), str(folder / "bad.png"), str(folder), "-f", "csv"]
    (folder / "bad.png").write_bytes(b"not an image")
    (folder / "wide.png").write_bytes(encode(np.full((80, 200, 3), 190, np.uint8)))
    given = runner.invoke(app, arguments).stdout.splitlines()
    run = runner.invoke(app, [*arguments, "--sort", "review"])
    rows = list(csv.DictReader(run.stdout.splitlines()))
    assert sorted(run.stdout.splitlines()) == sorted(given)
    priorities = [float(row["review_priority"] or -1) for row in rows]
    assert priorities == sorted(priorities, reverse=True)
    assert len(set(priorities[:-1])) > 1
    assert rows[-1]["error"]


@fake_model
def test_folder_without_tiles_is_rejected(tmp_path: Path) -> None:
    run = runner.invoke(app, ["classify", str(tmp_path)])
    assert run.exit_code == 2
    assert "No tiles" in run.stderr


def test_missing_bundle_is_reported_without_traceback(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTEO_MODELS_DIR", str(tmp_path / "empty"))
    run = runner.invoke(app, ["classify", str(folder)])
    assert run.exit_code == 2
    assert "OSTEO_MODELS_DIR" in run.stderr
    assert "Traceback" not in run.output


def version_without_tensorflow(package: str) -> str:
    if package == "tensorflow":
        raise PackageNotFoundError(package)
    return version(package)


@pytest.mark.parametrize(
    "has_tensorflow",
    [False, pytest.param(True, marks=[pytest.mark.exhaustive, pytest.mark.tensorflow])],
)
def test_doctor_passes_the_released_bundle(
    monkeypatch: pytest.MonkeyPatch, has_tensorflow: bool
) -> None:
    if not has_tensorflow:  # importing it takes longer than everything else
        monkeypatch.setattr("app.cli.doctor.version", version_without_tensorflow)
    run = runner.invoke(app, ["doctor"])
    assert run.exit_code == 0, run.output
    assert "litert: golden tiles" in run.output
    assert "litert int8: golden tiles" in run.output
    assert ("savedmodel: golden tiles" in run.output) == has_tensorflow
    assert "inference" in run.output


def test_doctor_reports_a_missing_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEO_MODELS_DIR", str(tmp_path))
    run = runner.invoke(app, ["doctor"])
    assert run.exit_code == 1
    assert "FAIL" in run.output


@pytest.mark.parametrize("command", [[], ["serve"], ["classify"], ["explain"], ["doctor"]])
def test_every_command_has_help(command: list[str]) -> None:
    run = runner.invoke(app, [*command, "--help"])
    assert run.exit_code == 0
    assert "Usage" in run.output


def test_version_is_printed() -> None:
    assert runner.invoke(app, ["--version"]).output.startswith("osteo 1.")


@fake_model
def test_file_above_the_size_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "slide.tif").open("wb") as stream:
        stream.truncate(200 * 1024**3)  # sparse, so it takes no disk space
    run = runner.invoke(app, ["classify", str(tmp_path), "--format", "csv"])
    assert run.exit_code == 1
    assert "larger than" in run.stdout


@fake_model
def test_any_file_name_can_be_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the table would fold long paths
    for name in ("case[a].png", "x[bold].png", ":smile:.png"):
        (tmp_path / name).write_bytes(plain_tile((200, 100, 150)))
    (tmp_path / "bad[red].png").write_bytes(b"")
    run = runner.invoke(app, ["classify", "."])
    assert run.exit_code == 1
    for name in ("case[a].png", "x[bold].png", ":smile:.png", "bad[red].png"):
        assert name in run.output
