from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.training.experiments.nested.drawing import NESTED, draw_task
from tests.training.tiny_system import TINY
from training.commands.nested import nested
from training.data.index import Index
from training.errors import ConfigError, RunError
from training.evaluation.nested_answers import read_nested_answers
from training.experiments.nested import parts, run
from training.experiments.nested.config import NESTED_DIR, NestedConfig, read_nested
from training.experiments.nested.run import CHOICES_NAME, Choice, NestedTask, run_nested
from training.experiments.nested.tables import write_csv, write_markdown
from training.features.supplements import NO_SUPPLEMENTS
from training.networks.registry import SYSTEMS


def fit_nothing(*arguments: Any) -> SimpleNamespace:
    """Instead of `fit_classifier`: today's recipe takes seconds a fit, and others test it."""
    test = arguments[3]
    return SimpleNamespace(test_logits=np.zeros((len(test), 3), np.float32))


@pytest.fixture(scope="module", autouse=True)
def _quick_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SYSTEMS, TINY.name, TINY)
        patch.setattr(parts, "fit_classifier", fit_nothing)
        yield


@pytest.fixture
def task(tmp_path: Path) -> NestedTask:
    """Three drawn cases of six slides, with thumbnails and a feature table."""
    return draw_task(tmp_path)


@dataclass(frozen=True)
class Whole:
    """A nested choice of the command, which was not stopped, and what its journal holds."""

    task: NestedTask
    out: Path
    choices: list[Choice]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """With a seed that the file does not name."""
    folder = tmp_path_factory.mktemp("whole")
    task = draw_task(folder)
    nested(
        data_dir=task.data_dir,
        nested_file=folder / "nested.toml",
        index_file=folder / "index.json",
        out=folder / "out",
        thumbnails=folder / "thumbnails",
        feature_table=folder / "table" / "ML_Features_drawn.csv",
        seed=[3],
    )
    task = replace(task, nested=task.nested.model_copy(update={"seeds": (3,)}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_choose", lambda *_: pytest.fail("it is in the journal"))
        return Whole(task, folder / "out", run_nested(task, folder / "out"))


def test_run_nested_answers_each_tile_once_a_seed_without_having_seen_it(whole: Whole) -> None:
    task, choices = whole.task, whole.choices
    by_group = [*["patient"] * 3, *["slide"] * 3]
    assert [choice.kind for choice in choices] == ["whole", *by_group, *["random"] * 6]
    names = {tile.name for tile in task.index.tiles}
    for kind in ("patient", "slide", "random"):
        answers = [a for c in choices if c.kind == kind for a in c.answers if not a.is_thumbnail]
        assert sorted(a.tile for a in answers) == sorted(names)
    of_thumbnails = [(c.fold, a) for c in choices for a in c.answers if a.is_thumbnail]
    assert {fold for fold, _ in of_thumbnails} == {"Case 3"}
    assert len(of_thumbnails) == 3
    assert all(answer.predicted[0] == -1 for _, answer in of_thumbnails), "today's answers none"

    table, rows = write_markdown(choices), write_csv(choices)
    assert "| **the nested choice** |" in table
    assert "| today's recipe |" in table
    assert "| nothing |" in table
    assert {c.kind for c in choices if c.chosen is None} == {"random"}, "nothing is chosen from it"
    assert len(rows.splitlines()) == 1 + 2 * len(names) + 3


def test_run_nested_resumes_after_a_kill(whole: Whole, tmp_path: Path) -> None:
    lines = (whole.out / CHOICES_NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / CHOICES_NAME).write_bytes(b"".join(lines[:-2]) + lines[-2][:40])
    assert run_nested(whole.task, tmp_path) == whole.choices


def test_run_nested_refuses_two_cases(task: NestedTask, tmp_path: Path) -> None:
    tiles = tuple(tile for tile in task.index.tiles if tile.case != "Case 4")
    index = Index(**(task.index.model_dump() | {"tiles": [t.model_dump() for t in tiles]}))
    two = NestedTask(task.nested, task.base, None, index, "0" * 64, task.data_dir, NO_SUPPLEMENTS)
    with pytest.raises(RunError, match="at least three"):
        run_nested(two, tmp_path / "out")


@pytest.mark.usefixtures("task")
def test_read_nested_refuses_a_layer_that_the_base_lacks(tmp_path: Path) -> None:
    path = tmp_path / "nested.toml"
    path.write_text(NESTED.replace('["last"], ', '["relu2"], ', 1))
    with pytest.raises(ConfigError, match=r"the base pools conv1, last, not relu2"):
        read_nested(path, None, None, None)


@pytest.mark.parametrize("path", sorted(NESTED_DIR.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_file_is_read(path: Path) -> None:
    if "[[grid]]" not in path.read_text():
        return
    chosen, base, today = read_nested(path, "none", None, None)
    assert isinstance(chosen, NestedConfig)
    assert len(chosen.seeds) == 5
    assert base.network.head == "logistic"
    names = [candidate.name for candidate in chosen.candidates]
    assert len(set(names)) == len(names)
    assert today is None or today.model_version == "3"


def test_the_command_writes_the_table_and_the_answers_of_the_journal(whole: Whole) -> None:
    table, answers = whole.out / "table.md", whole.out / "answers.csv"
    assert table.read_text() == write_markdown(whole.choices)
    assert answers.read_text() == write_csv(whole.choices)
    rows = np.genfromtxt(answers, delimiter=",", dtype=str)
    assert set(rows[1:, 0]) == {"3"}
    found = read_nested_answers(answers, whole.task.index, whole.task.base.labels)
    assert found.seeds == 1
    assert found.slide is not None
    assert f"| {found.patient.n_correct[0]}.0 (" in table.read_text()
    assert f"| {found.patient.macro_f1:.3f} |" in table.read_text()
