"""A study does every run once, whatever interrupts it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.training.experiments.study.conftest import MakeStudy
from training.errors import DataError, RunError, SplitError
from training.experiments.study.config import StudyConfig
from training.experiments.study.engines import HeadTask, SerialEngine
from training.experiments.study.head import HeadFit
from training.experiments.study.journal import JOURNAL_NAME, open_journal, read_journal
from training.experiments.study.study import Study
from training.experiments.study.study_report import write_report

pytestmark = pytest.mark.usefixtures("no_figures")


class StoppingEngine:
    """Raises KeyboardInterrupt after some tasks."""

    def __init__(self, n_tasks: int) -> None:
        self.n_left = n_tasks

    def run(self, tasks: Iterable[HeadTask]) -> Iterator[tuple[HeadTask, HeadFit]]:
        for done in SerialEngine().run(tasks):
            if self.n_left == 0:
                raise KeyboardInterrupt
            self.n_left -= 1
            yield done


def run_all(study: Study, engine: SerialEngine | StoppingEngine | None = None) -> None:
    with open_journal(study.folders.out) as journal:
        planned = study.figure_3 + study.table_1
        list(study.run(planned, journal, engine or SerialEngine()))
        list(study.run(study.by_split_kind(journal.get), journal, engine or SerialEngine()))


def keys_in(folder: Path) -> list[str]:
    lines = (folder / JOURNAL_NAME).read_text().splitlines()
    return [json.loads(line)["key"] for line in lines]


def table_of(study: Study) -> list[dict[str, str]]:
    write_report(study, read_journal(study.folders.out).get)
    with (study.folders.out / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        del row["seconds"]
    return rows


def test_a_study_does_every_run_once(make_study: MakeStudy) -> None:
    study = make_study()
    run_all(study)
    # 8 of Figure 3 and 4 of Table 1, of which 2 are in both; 2 + 2 + 2 folds of three kinds.
    keys = keys_in(study.folders.out)
    assert len(keys) == len(set(keys)) == 8 + 4 - 2 + 6
    rows = table_of(study)
    assert Counter(row["part"] for row in rows) == {"figure 3": 8, "table 1": 4, "levels": 6}
    assert {row["n_test"] for row in rows if row["part"] != "levels"} == {"3"}
    run_all(study)
    assert keys_in(study.folders.out) == keys


@pytest.mark.parametrize(
    "stops",
    # In the first part of the study, and in the second; then before each, and in its middle.
    [(1, 12), pytest.param((0, 7), marks=pytest.mark.exhaustive)],
    ids=str,
)
def test_stopped_study_ends_like_an_uninterrupted_one(
    make_study: MakeStudy, stops: tuple[int, ...]
) -> None:
    whole = make_study("whole")
    run_all(whole)
    table = table_of(whole)
    for n_tasks in stops:
        stopped = make_study(f"stopped after {n_tasks}")
        with pytest.raises(KeyboardInterrupt):
            run_all(stopped, StoppingEngine(n_tasks))
        assert len(keys_in(stopped.folders.out)) == n_tasks
        run_all(make_study(stopped.folders.out.name))
        keys = keys_in(stopped.folders.out)
        assert len(keys) == len(set(keys))
        assert table_of(stopped) == table


def test_features_are_computed_once_for_all_studies(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all(make_study("one"))

    def refuse(*_: object) -> None:
        raise AssertionError("a feature is computed again")

    monkeypatch.setattr("training.experiments.study.features.FeatureSource._open_backbone", refuse)
    run_all(make_study("other"))


def test_views_differ_from_originals_and_from_each_other(make_study: MakeStudy) -> None:
    study = make_study()
    spec = next(run.spec for run in study.table_1 if run.spec.views)
    features = study.source.read(spec.network, spec.views)
    assert features.shape == (12, 3, 8)
    original = study.source.read(spec.network, None)
    np.testing.assert_array_equal(features[:, 0], original[:, 0])
    assert np.abs(features[:, 1] - features[:, 0]).max(axis=1).min() > 0
    assert np.abs(features[:, 2] - features[:, 1]).max(axis=1).min() > 0


def test_online_views_are_new_in_every_epoch_and_run_and_not_stored(
    make_study: MakeStudy, study_config: StudyConfig
) -> None:
    table = study_config.table.model_copy(update={"mode": "online"})
    study = make_study(config=study_config.model_copy(update={"table": table}))
    specs = [run.spec for run in study.table_1 if run.spec.views]
    train, _ = study.positions(specs[0].split)
    one, other = (study.source.fresh(spec, train) for spec in specs)
    assert one is not None
    assert other is not None
    assert one(1).shape == (9, 1, 8)
    np.testing.assert_array_equal(one(1), one(1))
    assert (one(1) != one(2)).any()
    assert (one(1) != other(1)).any()
    run_all(study)
    assert study.source.missing(specs[0].network, [None]) == 0
    assert len(list((study.folders.cache_dir).glob("*/*.chunk"))) == 1
    assert len(table_of(study)) == 8 + 4 + 6


def test_an_index_with_other_mixed_tiles_is_refused(
    make_study: MakeStudy, study_config: StudyConfig
) -> None:
    with pytest.raises(RunError, match="mixed_tiles = 'exclude'"):
        make_study(config=study_config.model_copy(update={"mixed_tiles": "exclude"}))


def test_a_class_with_one_tile_is_refused_before_any_work(make_study: MakeStudy) -> None:
    study = make_study()
    tiles = [tile for tile in study.index.tiles if tile.label != "viable_tumor"]
    one = next(tile for tile in study.index.tiles if tile.label == "viable_tumor")
    study.index = study.index.model_copy(update={"tiles": (*tiles, one)})
    with pytest.raises(SplitError, match="1 tile of the rarest label"):
        study.require_splits()


def test_a_tile_that_has_changed_is_refused(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study()
    (first, *rest) = study.index.tiles
    changed = first.model_copy(update={"sha256": "0" * 64})
    study.source._index = study.index.model_copy(update={"tiles": (changed, *rest)})
    with pytest.raises(DataError, match="has changed"):
        study.source.read(study.figure_3[0].spec.network, None)
    assert tmp_path.exists()
