from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.experiments.study.conftest import TINY_STUDY
from training.config import CONFIGS_DIR
from training.errors import ConfigError, RunError
from training.experiments.study.config import LEFT_OUT, StudyConfig, read_study
from training.experiments.study.design import Design, jobs_of

PAPER = ("mobilenetv2", "resnet50v2", "xception", "inceptionresnetv2")
COMPARED = (*PAPER, "vgg16")
_ANOTHER = "[systems.vgg16]\n"


def test_study_toml_has_the_runs_of_the_paper() -> None:
    design = Design(read_study(CONFIGS_DIR / "study.toml"), "index", dict.fromkeys(COMPARED, "w"))
    whole, table = design.figure_3(), design.table_1()
    assert {run.system for run in whole} == set(COMPARED)
    grid = [run for run in whole if run.system in PAPER]
    assert len(grid) == 4 * 6 * 3 * 5 == 360
    assert len({run.spec.key for run in grid}) == 360
    assert len(list(jobs_of([run.spec for run in grid]))) == 360
    assert {run.spec.learning_rate for run in grid} == {0.1, 0.01, 0.005, 0.001, 0.0005, 0.0001}
    assert {run.system for run in table} == {"mobilenetv2", "resnet50v2"}
    assert {run.spec.network.side_px for run in [*grid, *table]} == {224}
    zooms = {run.spec.views.augment.zoom for run in table if run.spec.views}
    assert zooms == {0.0, 0.5, 1.0, 1.5}
    assert all(run.spec.views is None for run in grid)


@pytest.mark.parametrize(
    ("change", "key", "says"),
    [
        (("runs = 2", "run = 2"), "grid.run", "is it misspelt?"),
        (('systems = ["mobilenetv2"]', 'systems = ["resnet50v2"]'), "", "names 'resnet50v2'"),
        (("[levels]", '[levels]\nsystems = ["vgg16"]'), "", "levels.systems names 'vgg16'"),
        (("[systems.mobilenetv2]", "[systems.mobilenet]"), "systems", "there is no system"),
        (("[systems.mobilenetv2]", "[systems.alexnet]"), "systems", "not a frozen backbone"),
        (("0.01, 0.001]", "0.01, -1]"), "grid.learning_rates", "must be above 0"),
        (("epochs = [2, 4]", "epochs = [0]"), "grid.epochs", "must be 1 or more"),
        (("n_views = 2", "n_views = 2\nviews_per_epoch = 3"), "table", "more than n_views"),
        (('name = "none" }', 'name = "none" }, { name = "none" }'), "table", "the same name"),
        (("zoom = 1.0", "zom = 1.0"), "table.rows.1.zom", "is it misspelt?"),
        (("side_px = 64", "side_px = 33.5"), "systems.mobilenetv2.side_px", "integer"),
    ],
)
def test_a_wrong_key_is_named(
    study_file: Path, change: tuple[str, str], key: str, says: str
) -> None:
    assert change[0] in TINY_STUDY
    study_file.write_text(TINY_STUDY.replace(*change, 1))
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")) as caught:
        read_study(study_file)
    assert caught.value.key == key


def test_study_toml_compares_its_systems_on_every_kind_of_split() -> None:
    design = Design(read_study(CONFIGS_DIR / "study.toml"), "index", dict.fromkeys(COMPARED, "w"))
    compared = design.comparison(n_cases=4)
    assert {(run.system, run.row) for run in compared} == {(name, "none") for name in COMPARED}
    assert len(compared) == len(COMPARED) * (10 + 5 + 4)
    assert all(run.spec.views is None for run in compared)


def test_only_runs_the_named_systems_and_keeps_the_rows_of_the_others() -> None:
    config = read_study(CONFIGS_DIR / "study.toml")
    one = config.only(("mobilenetv2",))
    assert list(one.running) == ["mobilenetv2"]
    assert one.systems["vgg16"].not_run == LEFT_OUT
    assert one.grid == config.grid
    design = Design(one, "index", {"mobilenetv2": "w"})
    runs = [*design.figure_3(), *design.table_1(), *design.comparison(n_cases=2)]
    assert {run.system for run in runs} == {"mobilenetv2"}
    with pytest.raises(RunError, match="There is no system 'vgg'"):
        config.only(("vgg",))


def test_only_keeps_the_reason_of_a_system_that_was_left_out_before() -> None:
    config = read_study(CONFIGS_DIR / "study.toml").without({"resnet50v2": "no weights"})
    assert config.only(("xception",)).systems["resnet50v2"].not_run == "no weights"
    with pytest.raises(RunError, match="No system of this study is left to run"):
        config.only(("resnet50v2",))


def test_not_run_is_a_key_of_a_system(study_file: Path) -> None:
    study_file.write_text(TINY_STUDY.replace("[grid]", f"{_ANOTHER}not_run = 'no weights'\n[grid]"))
    config = read_study(study_file)
    assert list(config.running) == ["mobilenetv2"]
    study_file.write_text(TINY_STUDY.replace("[grid]", f"{_ANOTHER}not_run = ''\n[grid]"))
    with pytest.raises(ConfigError, match=r"systems\.vgg16\.not_run"):
        read_study(study_file)


def _keys(config: StudyConfig, index: str = "index", weights: str = "w") -> list[str]:
    design = Design(config, index, {"mobilenetv2": weights})
    return [run.spec.key for run in [*design.figure_3(), *design.table_1()]]


def test_key_depends_on_everything_that_determines_a_run(study_config: StudyConfig) -> None:
    keys = _keys(study_config)
    changed = [
        study_config.model_copy(update={"seed": 4}),
        study_config.model_copy(
            update={"head": study_config.head.model_copy(update={"hidden_units": 7})}
        ),
        study_config.model_copy(
            update={"head": study_config.head.model_copy(update={"batch_size": 5})}
        ),
    ]
    others = [
        *(_keys(config) for config in changed),
        _keys(study_config, index="another"),
        _keys(study_config, weights="others"),
    ]
    assert not any(set(keys) & set(other) for other in others)
    assert _keys(study_config) == keys


def test_key_does_not_depend_on_the_name_of_a_row(study_config: StudyConfig) -> None:
    rows = study_config.table.rows
    renamed = (rows[0], rows[1].model_copy(update={"name": "other"}))
    table = study_config.table.model_copy(update={"rows": renamed})
    assert _keys(study_config.model_copy(update={"table": table})) == _keys(study_config)


def test_runs_that_two_parts_share_are_done_once(study_config: StudyConfig) -> None:
    """Table 1 without augmentation is Figure 3's run of the same rate and number of epochs."""
    keys = _keys(study_config)
    assert len(keys) == 8 + 4
    assert len(set(keys)) == 8 + 4 - 2


def test_share_prefix_needs_fewer_fits_for_the_same_runs(study_config: StudyConfig) -> None:
    grid = study_config.grid.model_copy(update={"share_prefix": True})
    design = Design(study_config.model_copy(update={"grid": grid}), "index", {"mobilenetv2": "w"})
    specs = [run.spec for run in design.figure_3()]
    jobs = list(jobs_of(specs))
    assert len({spec.key for spec in specs}) == 8
    assert [tuple(spec.epochs for spec in job) for job in jobs] == [(2, 4)] * 4
