from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from pydantic import BaseModel

from app.core.manifest import SplitKind
from tests.training.command_line import run, succeed
from tests.training.evaluation.runs import run_of
from training.evaluation.comparison import (
    comparison_rows,
    differing_settings,
    incomparable,
    names_of,
)
from training.runs.records import CrossValidation, write_run

PAIRS = [(0, 0), (0, 1), (1, 1), (1, 1), (2, 2), (2, 2)]


def changed(run: CrossValidation, **settings: object) -> CrossValidation:
    """The run with other settings; `head={"epochs": 5}` changes one of a section."""
    document = run.config.model_dump()
    for key, value in settings.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
    config: BaseModel = type(run.config).model_validate(document)
    return run.model_copy(update={"config": config})


def test_comparison_rows_show_each_run() -> None:
    better = run_of([(true, true) for true, _ in PAIRS])
    one, other = comparison_rows({"a": run_of(PAIRS), "b": better})
    assert one[:5] == ["a", "slide", "1", "5 / 6", "83.3 %"]
    assert one[6] == "0.822"  # F1 of 0.667, 0.8 and 1
    assert other[:7] == ["b", "slide", "1", "6 / 6", "100.0 %", "100.0 to 100.0 %", "1.000"]


def test_differing_settings_names_keys_and_values() -> None:
    plain = run_of(PAIRS)
    rows = differing_settings({"a": plain, "b": changed(plain, seed=3, head={"epochs": 5})})
    assert rows == [["seed", "0", "3"], ["head.epochs", "30", "5"]]
    assert differing_settings({"a": plain, "b": plain}) == []


@pytest.mark.parametrize(
    ("update", "says"),
    [
        ({"split_sha256": "2" * 64}, "different folds by slide"),
        ({"index_sha256": "2" * 64}, "different tiles"),
        ({"kind": "random"}, "different kinds of split (random, slide)"),
    ],
)
def test_incomparable_runs_are_named(update: dict[str, object], says: str) -> None:
    plain = run_of(PAIRS)
    (reason,) = incomparable({"a": plain, "b": plain.model_copy(update=update)})
    assert says in reason
    assert incomparable({"a": plain, "b": plain}) == []


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["x/slide", "y/slide"], ["x/slide", "y/slide"]),
        (["slide"], ["slide"]),
    ],
)
def test_names_of_are_short_and_different(folders: list[str], names: list[str]) -> None:
    assert names_of([Path(folder) for folder in folders]) == names


def test_compare_prints_tables_and_warnings_and_draws_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kinds: tuple[SplitKind, ...] = ("slide", "patient")
    for kind in kinds:
        write_run(tmp_path / kind, run_of(PAIRS, kind))
    write_run(tmp_path / "dropout", changed(run_of(PAIRS), network={"dropout": 0.25}))
    said = " ".join(succeed("compare", "slide", "dropout").split())
    assert "network.dropout" in said
    assert "0.25" in said
    assert "warning" not in said
    with Image.open("runs/compare.png") as picture:
        assert picture.size[0] > 600
    said = " ".join(succeed("compare", "slide", "patient", "--out", "both.png").split())
    assert "All settings are the same." in said
    assert "warning: The runs have different kinds of split (patient, slide)" in said
    assert Path("both.png").is_file()


def test_compare_refuses_a_folder_without_a_cross_validation(tmp_path: Path) -> None:
    result = run("compare", tmp_path)
    assert result.exit_code == 1
    assert "Expected a cross-validation" in " ".join(result.output.split())


def test_compare_refuses_one_run_twice(tmp_path: Path) -> None:
    write_run(tmp_path / "slide", run_of(PAIRS))
    result = run("compare", tmp_path / "slide", tmp_path / "slide")
    assert result.exit_code == 1
    assert "more than once" in " ".join(result.output.split())
