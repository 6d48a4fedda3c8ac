"""A study of four labels on a plain table: every result has four classes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.training.experiments.study.conftest import TINY_STUDY, infer_colours
from tests.training.own_tiles.drawing import LABEL_IDS, LABELS_TOML, write_table
from training.data.index import IndexRules, index_tiles
from training.data.layouts import open_source
from training.errors import RunError
from training.experiments.study.config import StudyConfig, read_study
from training.experiments.study.engines import SerialEngine
from training.experiments.study.features import FeatureSource
from training.experiments.study.journal import open_journal
from training.experiments.study.study import Study, StudyFolders
from training.experiments.study.study_report import write_report
from training.storage.frozen_model import write_json


def study_of(tmp_path: Path, config: StudyConfig, labels: StudyConfig) -> Study:
    data_dir = write_table(tmp_path / "data", ("file", "label", "slide", "case", "x", "y"))
    source = open_source(data_dir, labels.labels)
    index, _ = index_tiles(source, data_dir, IndexRules(labels.labels, side_px=96))
    sha256 = write_json(tmp_path / "index.json", index)
    folders = StudyFolders(data_dir, tmp_path / "cache", tmp_path / "out")
    return Study(config, index, sha256, folders)


@pytest.fixture
def four_study(study_file: Path) -> StudyConfig:
    study_file.write_text(TINY_STUDY + LABELS_TOML)
    return read_study(study_file)


def test_study_of_four_labels_reports_them(
    tmp_path: Path, four_study: StudyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FeatureSource, "_open_backbone", lambda *_: infer_colours)
    study = study_of(tmp_path, four_study, four_study)
    with open_journal(study.folders.out) as journal:
        list(study.run(study.figure_3 + study.table_1, journal, SerialEngine()))
        list(study.run(study.by_split_kind(journal.get), journal, SerialEngine()))
        text = write_report(study, journal.get).read_text()
    assert "16 (4 Stroma, 4 Viable sarcoma, 4 Fat, 4 Cartilage) of 4 slides and 2 cases" in text
    assert "| Stroma |" in text
    assert "softmax 4" in text
    record = journal.get(study.figure_3[0].spec.key)
    assert record is not None
    assert len(record.confusion) == len(record.logits[0]) == len(LABEL_IDS)
    with (study.folders.out / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["n_tumor"] for row in rows if row["split"] == "slide"} <= {"1", "2", "3"}


def test_study_refuses_an_index_with_other_labels(
    tmp_path: Path, study_config: StudyConfig, four_study: StudyConfig
) -> None:
    with pytest.raises(RunError, match=r"The index has the labels stroma, .* \[labels\]"):
        study_of(tmp_path, study_config, four_study)
