"""The learning curves of a run, as TensorBoard reads them."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tests.training.command_line import succeed
from training.runs.records import read_cross_validation, read_final_fit
from training.storage.event_files import CURVES_NAME, open_curve, write_curves

pytestmark = pytest.mark.tensorflow

TAGS = {"loss/training", "loss/test", "accuracy/training", "accuracy/test"}
RECORD = {"loss": 0.5, "accuracy": 0.75, "test_loss": None, "test_accuracy": None}


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorBoard's own, when it is imported
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.tensor_proto.float_val[0]) for event in found.Tensors(tag)]
        for tag in found.Tags()["tensors"]
    }


@pytest.mark.usefixtures("eagerly")
def test_a_run_has_the_curves_of_its_history(
    drawn_dir: Path, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network = '[network]\nsystem = "tiny"\n'
    text = tiny_config.read_text().replace("[network]\n", network)
    tiny_config.write_text(text.replace('"Conv_1"', '"conv2"'))
    given = ("--data-dir", drawn_dir, "--config", tiny_config, "--weights", "none")
    succeed("index", "--data-dir", drawn_dir, "--tile-side-px", 128)
    succeed("split", "--kind", "patient")
    succeed("fit", *given, "--split", "runs/patient.json", "--out", "runs/patient")
    succeed("fit", *given, "--out", "runs/final")

    crossed = read_cross_validation(Path("runs/patient"))
    assert crossed.folds == ("Case 3", "Case 48")
    for fold, history in crossed.history.items():
        curves = read_curves(Path("runs/patient") / CURVES_NAME / fold)
        assert set(curves) == TAGS
        for tag, key in (("loss/training", "loss"), ("accuracy/test", "test_accuracy")):
            epochs, values = zip(*curves[tag], strict=True)
            assert epochs == (1, 2, 3)
            assert values == pytest.approx([record[key] for record in history])
    final, _, _ = read_final_fit(Path("runs/final"))
    curves = read_curves(Path("runs/final") / CURVES_NAME / "all tiles")
    assert set(curves) == {"loss/training", "accuracy/training"}  # there are no test tiles
    assert len(curves["loss/training"]) == len(final.history) == 3


def test_open_curve_replaces_the_curve_of_a_stopped_fit(tmp_path: Path) -> None:
    for n_epochs in (3, 2):
        with open_curve(tmp_path, "fold 1") as add:
            for _ in range(n_epochs):
                add(RECORD)
    assert read_curves(tmp_path / "fold 1")["loss/training"] == [(1, 0.5), (2, 0.5)]


@pytest.mark.parametrize("name", ["../outside", "a/b", "/etc", "..", "."])
def test_write_curves_keeps_names_inside_the_run(tmp_path: Path, name: str) -> None:
    run_dir = tmp_path / "run"
    write_curves(run_dir, {name: [RECORD]})
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    (folder,) = (run_dir / CURVES_NAME).iterdir()
    assert read_curves(folder)["loss/training"] == [(1, 0.5)]
