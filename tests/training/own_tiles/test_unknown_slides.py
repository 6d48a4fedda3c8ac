"""Without slides and cases, splits, calibration and sampling say what is not possible."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.command_line import run, succeed
from tests.training.own_tiles.drawing import CONFIG, draw, write_folders, write_table
from training.config import read_config
from training.data.index import Index, IndexRules, index_tiles
from training.data.label_set import LabelSet
from training.data.layouts import open_source
from training.data.splits import make_split, possible_kinds
from training.errors import RunError, SplitError
from training.evaluation.calibration import calibrating_kind
from training.runs.records import require_trainable

SHA = "0" * 64


def indexed(folder: Path, labels: LabelSet) -> Index:
    rules = IndexRules(labels, side_px=96)
    index, problems = index_tiles(open_source(folder, labels), folder, rules)
    assert not problems
    return index


@pytest.mark.parametrize(
    ("columns", "kinds", "calibrated_by"),
    [
        ((), ("random",), "random"),
        (("slide",), ("random", "slide"), "slide"),
        (("case",), ("random", "patient"), "patient"),
        (("slide", "case"), ("random", "slide", "patient"), "slide"),
    ],
)
def test_possible_kinds_follow_the_columns(
    tmp_path: Path,
    four_labels: LabelSet,
    columns: tuple[str, ...],
    kinds: tuple[str, ...],
    calibrated_by: str,
) -> None:
    index = indexed(write_table(tmp_path / "d", ("file", "label", *columns)), four_labels)
    assert possible_kinds(index) == kinds
    assert calibrating_kind(index) == calibrated_by
    for kind in kinds:
        made = make_split(index, SHA, kind, 2)  # type: ignore[arg-type] # a kind of split
        assert sum(len(fold.test) for fold in made.folds) == 16


@pytest.mark.parametrize(("kind", "column"), [("slide", "slide"), ("patient", "case")])
def test_make_split_names_the_column_that_is_missing(
    tmp_path: Path, four_labels: LabelSet, kind: str, column: str
) -> None:
    index = indexed(write_folders(tmp_path / "d"), four_labels)
    with pytest.raises(SplitError, match=f"Add a column '{column}' to the table"):
        make_split(index, SHA, kind, 2)  # type: ignore[arg-type] # a kind of split
    with pytest.raises(SplitError, match="slide, x and y of the tiles are unknown"):
        make_split(index, SHA, "random", 2, footprint_px=100)


@pytest.mark.parametrize("balance", ["slide", "case", "case_and_label"])
def test_require_trainable_refuses_to_balance_what_is_unknown(
    tmp_path: Path, four_config: Path, balance: str
) -> None:
    four_config.write_text(f'{CONFIG}\n[sampling]\nbalance = "{balance}"\n')
    config = read_config(four_config)
    index = indexed(write_folders(tmp_path / "d"), config.labels)
    with pytest.raises(RunError, match=f"sampling.balance = '{balance}' needs the"):
        require_trainable(index, config)


def test_require_trainable_refuses_an_index_with_other_labels(
    tmp_path: Path, four_config: Path
) -> None:
    config = read_config(four_config)
    index = indexed(write_folders(tmp_path / "d"), config.labels)
    four_config.write_text(CONFIG.replace("tumor = true", "tumor = false"))
    with pytest.raises(RunError, match=r"labels stroma, sarcoma \(tumour\), fat, cartilage, but"):
        require_trainable(index, read_config(four_config))


def test_commands_warn_that_slides_are_unknown(tmp_path: Path, four_config: Path) -> None:
    data_dir, index = write_folders(tmp_path / "d"), tmp_path / "i.json"
    config = ("--config", four_config)
    said = succeed("index", "--data-dir", data_dir, *config, "--out", index)
    assert "16 tiles of unknown slides; 0 left out." in said
    split = ("split", "--index", index, "--out", tmp_path / "s.json")
    said = succeed(*split, "--kind", "random", "--folds", 2)
    assert "Overlaps were not searched for" in said
    assert "Warning. Slides unknown: tiles of one slide may be on both sides" in said
    result = run(*split, "--kind", "slide")
    assert result.exit_code == 1
    assert "Add a column 'slide'" in " ".join(result.output.split())


@pytest.mark.tensorflow
def test_release_needs_two_random_folds_without_slides(tmp_path: Path, four_config: Path) -> None:
    four_config.write_text(CONFIG.replace("random_folds = 2", "random_folds = 1"))
    data_dir = write_folders(tmp_path / "d")
    result = run(
        *("release", "--data-dir", data_dir, "--config", four_config),
        *("--runs-dir", tmp_path / "r", "--models-dir", tmp_path / "m"),
    )
    assert result.exit_code == 1
    assert "splits.random_folds" in result.output


def test_index_with_skip_fails_if_no_tile_is_left(tmp_path: Path, four_config: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "0.png").write_bytes(draw(0, 0, 64))
    (tmp_path / "d" / "t.csv").write_text("file,label\n0.png,fat\n")
    out = tmp_path / "i.json"
    command = ("index", "--data-dir", tmp_path / "d", "--config", four_config, "--out", out)
    result = run(*command, "--skip")
    assert result.exit_code == 1
    assert "No tile is left for the index" in result.output
    assert "64 x 64 px, not 96 x 96" in " ".join(result.output.split())
    assert not out.exists()
    assert "1 tile of unknown slides" in succeed(*command, "--tile-side-px", "any")


def test_report_and_contact_sheets_use_the_labels(tmp_path: Path, four_config: Path) -> None:
    data_dir = write_table(tmp_path / "d")
    out = tmp_path / "out"
    said = succeed(
        "dataset", "report", "--data-dir", data_dir, "--config", four_config, "--out", out
    )
    assert "Viable sarcoma" in said
    assert sorted(path.name for path in out.glob("sheet-*.png")) == [
        *("sheet-cartilage.png", "sheet-fat.png", "sheet-stroma.png", "sheet-viable-sarcoma.png")
    ]
    page = (out / "report.md").read_text()
    assert "16 tiles of 4 slides and 2 cases" in page
