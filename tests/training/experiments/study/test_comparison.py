"""Systems that are compared on every kind of split, and systems that are not run."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from tests.training.experiments.study.conftest import TINY_STUDY, MakeStudy
from training.data.index import Index
from training.errors import SplitError
from training.experiments.study.config import StudyConfig, read_study
from training.experiments.study.engines import SerialEngine
from training.experiments.study.journal import open_journal, read_journal
from training.experiments.study.study import Study
from training.experiments.study.study_report import write_report

TWO_SYSTEMS = '[systems.vgg16]\nweights = "none"\nside_px = 64\n\n[head]'
REASON = "no weights were available"


@pytest.fixture
def two_systems(study_file: Path) -> StudyConfig:
    """MobileNetV2 and VGG16 in Figure 3 and in the comparison; Table 1 is MobileNetV2's."""
    text = TINY_STUDY.replace("[head]", TWO_SYSTEMS, 1)
    text = text.replace('systems = ["mobilenetv2"]', 'systems = ["mobilenetv2", "vgg16"]', 1)
    text = text.replace("[levels]", '[levels]\nsystems = ["mobilenetv2", "vgg16"]')
    study_file.write_text(text)
    return read_study(study_file)


def report_of(study: Study) -> str:
    with open_journal(study.folders.out) as journal:
        list(study.run(study.known_runs, journal, SerialEngine()))
        list(study.run(study.by_split_kind(journal.get), journal, SerialEngine()))
    return write_report(study, read_journal(study.folders.out).get).read_text()


def section(report: str, title: str) -> str:
    return report.split(f"## {title}")[1].split("\n## ", maxsplit=1)[0]


def test_report_compares_the_systems_on_every_kind_of_split(
    make_study: MakeStudy, two_systems: StudyConfig
) -> None:
    study = make_study(config=two_systems)
    assert len(study.comparison) == 2 * (2 + 2 + 2)
    report = report_of(study)
    compared = section(report, "Comparison of systems")
    for title in ("MobileNetV2", "VGG16"):
        for kind in ("random", "slide", "patient"):
            assert re.search(rf"\| {title} \| {kind} \| \d+ of 12 \|", compared), (title, kind)
    assert "VGG16 (not in the paper's figure)" in section(report, "Figure 3")
    assert "| VGG16 | 64 px | `none` | random initial weights |" in report
    with (study.folders.out / "results.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["part"] == "comparison"]
    assert {(row["system"], row["row"], row["weights"]) for row in rows} == {
        ("mobilenetv2", "none", "none"),
        ("vgg16", "none", "none"),
    }


def test_report_keeps_the_rows_of_a_system_that_is_not_run(
    make_study: MakeStudy, two_systems: StudyConfig
) -> None:
    study = make_study(config=two_systems.without({"vgg16": REASON}))
    assert {run.system for run in study.known_runs} == {"mobilenetv2"}
    report = report_of(study)
    assert f"| VGG16 | 64 px | - | not run: {REASON} |" in report
    figure = section(report, "Figure 3")
    for epochs in (2, 4):
        row = f"| VGG16 (not in the paper's figure) | {epochs} | - | not run: {REASON} |"
        assert row in figure
    compared = section(report, "Comparison of systems")
    for kind in ("random", "slide", "patient"):
        assert f"| VGG16 | {kind} | not run: {REASON} |" in compared
    assert "16 of 16 are finished" in report


def test_a_missing_file_of_a_system_that_is_not_run_stops_nothing(
    make_study: MakeStudy, two_systems: StudyConfig
) -> None:
    config = two_systems.with_weights({"vgg16": "nowhere.h5"}).without({"vgg16": REASON})
    assert list(make_study(config=config).weights) == ["mobilenetv2"]


@pytest.mark.usefixtures("no_figures")
def test_patient_split_leaves_out_a_case_without_which_all_tiles_are_alike(
    make_study: MakeStudy, two_systems: StudyConfig, drawn_index: Index
) -> None:
    """One case has every label, the other only viable tumour, as the public thumbnails do."""
    first = drawn_index.tiles[0].case
    kept = [t for t in drawn_index.tiles if t.case == first or t.label == "viable_tumor"]
    study = make_study(config=two_systems)
    alike = Study(
        two_systems,
        drawn_index.model_copy(update={"tiles": tuple(kept)}),
        study.index_sha256,
        study.folders,
    )
    by_patient = [run for run in alike.comparison if run.spec.split.kind == "patient"]
    assert {alike.lone_label(run.spec.split) for run in by_patient} == {None}
    assert len(by_patient) == 2 * 1
    report = report_of(alike)
    other = next(tile.case for tile in kept if tile.case != first)
    assert f"By case, in the same order: {first}: 2 / 2 / 2; {other}: 0 / 0 / 2." in report
    compared = section(report, "Comparison of systems")
    others = "all other tiles are viable_tumor, so there is nothing to tell apart"
    assert f"The patient split does not test {first}: {others}." in compared
    assert re.search(r"\| VGG16 \| patient \| \d of 2 \| .* \| unavailable \|", compared)
    assert re.search(r"\| MobileNetV2: [^|]* \| patient \| \d of 2 \|", report)


def test_an_impossible_split_of_the_comparison_is_named(
    make_study: MakeStudy, two_systems: StudyConfig
) -> None:
    levels = two_systems.levels.model_copy(update={"slide_folds": 9})
    study = make_study(config=two_systems.model_copy(update={"levels": levels}))
    with pytest.raises(SplitError, match=r"needs at least 9\. See \[levels\]"):
        _ = study.comparison
