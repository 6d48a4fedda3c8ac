from __future__ import annotations

from pathlib import Path

import pytest

from training.config import read_config
from training.data.index import Index
from training.errors import ConfigError, RunError
from training.experiments.ablation import run as ablation_run
from training.experiments.ablation.config import ABLATIONS_DIR, change_config, read_ablation
from training.experiments.ablation.run import RUNS_NAME, AblationRecord, run_ablation
from training.experiments.ablation.tables import write_csv, write_markdown
from training.fit.classifier import fit_classifier
from training.storage.atomic import try_lock
from training.storage.journal import read_records

SHA = "0" * 64
ABLATION = """
base = "tiny.toml"
seeds = [1]

[[recipe]]
name = "plain"
change = { "fine_tune.epochs" = 0 }

[[recipe]]
name = "decayed"
change = { "head.weight_decay" = 0.5, "fine_tune.epochs" = 0 }
"""


@pytest.fixture
def ablation_file(tiny_config: Path) -> Path:
    path = tiny_config.parent / "ablation.toml"
    path.write_text(ABLATION)
    return path


def record(recipe: str, split: str, seed: int, right: tuple[int, int]) -> AblationRecord:
    return AblationRecord.model_validate(
        {
            "key": f"{recipe} {split} {seed}",
            "recipe": recipe,
            "split": split,
            "fold_seed": 0 if split == "slide" else None,
            "seed": seed,
            "n_tiles": 7,
            "n_right": sum(right),
            "log_loss": 0.5 + seed,
            "tiles_by_case": {"Case 3": 4, "P9": 3},
            "right_by_case": {"Case 3": right[0], "P9": right[1]},
        }
    )


@pytest.mark.parametrize("path", sorted(ABLATIONS_DIR.glob("*.toml")), ids=lambda path: path.stem)
def test_read_ablation_reads_every_shipped_file(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# osteo-train ")
    assert "# Expect" in text
    if "[[recipe]]" not in text:
        read_config(path)
        return
    ablation, recipes = read_ablation(path, "none")
    assert len(ablation.seeds) >= 3, "one run is noise"
    assert {recipe.config.network.weights for recipe in recipes} == {"none"}
    assert len({recipe.config.model_dump_json() for recipe in recipes}) == len(recipes)


def test_change_config_sets_dotted_keys_and_nothing_else(tiny_config: Path) -> None:
    base = read_config(tiny_config)
    changed = change_config(base, {"head.weight_decay": 0.5, "seed": 9}, "f.toml")
    assert (changed.head.weight_decay, changed.seed) == (0.5, 9)
    head = changed.head.model_copy(update={"weight_decay": 0.0})
    assert changed.model_copy(update={"head": head, "seed": base.seed}) == base


@pytest.mark.parametrize(
    ("key", "value"), [("head.weight_decoy", 1), ("hat.epochs", 1), ("seed.x", 1), ("seed", "x")]
)
def test_change_config_names_the_wrong_key(tiny_config: Path, key: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        change_config(read_config(tiny_config), {key: value}, "f.toml")
    assert caught.value.key == key
    assert "f.toml" in str(caught.value)


def test_read_ablation_refuses_two_recipes_with_one_name(ablation_file: Path) -> None:
    ablation_file.write_text(ABLATION.replace("decayed", "plain"))
    with pytest.raises(ConfigError, match="same name"):
        read_ablation(ablation_file, None)


@pytest.mark.tensorflow
@pytest.mark.usefixtures("eagerly")
def test_run_ablation_resumes_where_it_stopped(
    ablation_file: Path,
    drawn_index: Index,
    drawn_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It repeats a run whose line was cut off, and nothing if all lines are complete."""
    tiny = ablation_file.with_name("tiny.toml")
    text = tiny.read_text().replace("epochs = 2", "epochs = 1")
    small = "[network]\nsystem = 'tiny'\nbackbone.side_px = 32\n"
    tiny.write_text(text.replace("[network]\n", small))
    ablation, recipes = read_ablation(ablation_file, None)
    arguments = ablation, recipes, (drawn_index, SHA), drawn_dir, tmp_path / "out"
    records = run_ablation(*arguments)
    assert [(r.recipe, r.split, r.seed) for r in records] == [
        (name, split, 1) for name in ("plain", "decayed") for split in ("slide", "patient")
    ]
    assert all(r.n_tiles == 12 == sum(r.tiles_by_case.values()) for r in records)
    assert all(r.n_right == sum(r.right_by_case.values()) for r in records)

    runs = tmp_path / "out" / RUNS_NAME
    whole = runs.read_bytes()
    runs.write_bytes(whole[:-20])
    assert len(read_records(runs, AblationRecord, print)) == 3
    n_fits = 0
    fit = fit_classifier

    def counting(*args: object, **kwargs: object) -> object:
        nonlocal n_fits
        n_fits += 1
        return fit(*args, **kwargs)  # type: ignore[arg-type]  # whatever it was given

    monkeypatch.setattr(ablation_run, "fit_classifier", counting)
    again = run_ablation(*arguments)
    assert n_fits == 2, "the two folds of the run that was cut off"
    assert [r.n_right for r in again] == [r.n_right for r in records]
    assert run_ablation(*arguments) == again
    assert n_fits == 2


def test_run_ablation_lets_only_one_process_write(
    ablation_file: Path, drawn_index: Index, drawn_dir: Path, tmp_path: Path
) -> None:
    ablation, recipes = read_ablation(ablation_file, None)
    with (tmp_path / RUNS_NAME).open("a") as stream:
        assert try_lock(stream)
        with pytest.raises(RunError, match="Another process"):
            run_ablation(ablation, recipes, (drawn_index, SHA), drawn_dir, tmp_path)


def test_write_markdown_gives_mean_and_range_by_split_and_case() -> None:
    records = [
        record("a", "slide", 0, (4, 2)),
        record("a", "slide", 1, (4, 3)),
        record("a", "patient", 0, (1, 0)),
        record("a", "patient", 1, (2, 2)),
    ]
    *_, row = write_markdown(records).splitlines()
    assert row == "| a | 2.5 (1 to 4) | 1.5 | 1.0 | 6.5 (6 to 7) | 1.00 |"
    assert write_csv(records).splitlines()[3] == "a,patient,,0,7,1,0.5,Case 3: 1/4; P9: 0/3"
