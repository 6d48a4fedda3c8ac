"""The report has the paper's figures and tables, with the paper's numbers beside ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.training.experiments.study.conftest import TINY_STUDY, MakeStudy, infer_colours
from training.data.index import Index
from training.data.labels import COLLECTION_LABELS
from training.experiments.study.config import read_study
from training.experiments.study.engines import SerialEngine
from training.experiments.study.features import FeatureSource
from training.experiments.study.journal import FinishedRun, open_journal, read_journal
from training.experiments.study.results import Spread, best_run, count_leaks, tumor_counts
from training.experiments.study.study import Study, StudyFolders, best_row, found
from training.experiments.study.study_report import write_report
from training.storage.frozen_model import write_json


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, drawn_dir: Path, drawn_index: Index
) -> Study:
    """A finished study, which no test may change, and its report."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "study.toml").write_text(TINY_STUDY)
    folders = StudyFolders(drawn_dir, folder / "cache", folder / "out")
    sha256 = write_json(folder / "index.json", drawn_index)
    study = Study(read_study(folder / "study.toml"), drawn_index, sha256, folders)
    with pytest.MonkeyPatch.context() as patch, open_journal(folders.out) as journal:
        patch.setattr(FeatureSource, "_open_backbone", lambda *_: infer_colours)
        list(study.run(study.known_runs, journal, SerialEngine()))
        list(study.run(study.by_split_kind(journal.get), journal, SerialEngine()))
        write_report(study, journal.get)
    return study


def test_the_report_holds_the_papers_figures_and_numbers(finished: Study) -> None:
    path = finished.folders.out / "report.md"
    text = path.read_text()
    for number in ("0.79", "0.9118", "0.9411", "155 of 170", "96 of 102", "six false negatives"):
        assert number in text, number
    assert finished.index_sha256 in text
    assert "12 (4 Non-Tumor, 4 Non-Viable Tumor, 4 Viable Tumor) of 4 slides and 2 cases" in text
    assert "random and leaks" in text
    assert "10 of 10 are finished" in text
    for kind in ("random", "slide", "patient"):
        assert re.search(rf"\| {kind} \| \d+ of 12 \|", text), kind
    for name in ("figure-3.png", "figure-4.png", "figure-5.png"):
        assert (path.parent / name).read_bytes().startswith(b"\x89PNG")
        assert f"({name})" in text


def test_html_report_needs_no_other_file(finished: Study) -> None:
    page = (finished.folders.out / "report.html").read_text()
    sources = re.findall(r'src="([^"]{0,40})', page)
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert page.count("<table>") >= 4
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)


def test_a_report_can_be_written_at_any_time(finished: Study, make_study: MakeStudy) -> None:
    records = read_journal(finished.folders.out)
    some = dict(list(records.items())[:3])
    for known in ({}, some):
        text = write_report(make_study(f"of {len(known)}"), known.get).read_text()
        assert f"{len(known)} of 10 are finished; unfinished: " in text


def test_best_row_has_the_highest_mean_and_best_run_the_highest_best_epoch(
    finished: Study,
) -> None:
    done = found(finished.table_1, read_journal(finished.folders.out).get)
    forged = [
        (run, record.model_copy(update=_accuracies(run.row, run.number))) for run, record in done
    ]
    assert best_row(forged, "mobilenetv2") == "flip, zoom 1"
    best = best_run(forged)
    assert best is not None
    assert (best[0].row, best[0].number) == ("none", 2)
    spread = Spread.of([record for run, record in forged if run.row == "none"])
    assert (spread.mean, spread.low, spread.high) == (0.5, 0.25, 0.75)
    assert spread.best == pytest.approx((0.3 + 0.9) / 2)


def _accuracies(row: str, number: int) -> dict[str, object]:
    last, best = {("none", 1): (0.25, 0.3), ("none", 2): (0.75, 0.9)}.get((row, number), (0.6, 0.6))
    return {"test_accuracy": (best, last), "best_epoch": 1, "test_loss": (1.0, 1.0)}


def test_tumor_counts_are_the_papers() -> None:
    """96 of 102 tumour tiles are found and none is false: precision 1, recall 0.9412."""
    counts = tumor_counts(((68, 0, 0), (4, 50, 3), (2, 1, 42)), COLLECTION_LABELS)
    assert counts.precision == 1.0
    assert counts.recall == pytest.approx(0.9412, abs=1e-4)
    assert (counts.false_negatives, counts.n_tumor) == (6, 102)
    nothing = tumor_counts(((3, 0, 0), (0, 0, 0), (0, 0, 0)), COLLECTION_LABELS)
    assert nothing.precision is None
    assert nothing.recall is None


def test_leaks_are_counted_for_every_split(finished: Study) -> None:
    """Tiles of a slide lie 900 apart in y, so they overlap at every footprint."""
    leaks = count_leaks(finished)
    assert set(leaks) == {1024, 2048, 4096}
    assert all(len(pairs) == 2 for pairs in leaks.values())
    assert min(leaks[1024]) > 0
    assert all(a <= b for a, b in zip(leaks[1024], leaks[4096], strict=True))


def test_records_round_trip(finished: Study) -> None:
    record = next(iter(read_journal(finished.folders.out).values()))
    assert FinishedRun.model_validate_json(record.model_dump_json()) == record
    assert record.key == record.spec.key
    assert Path(finished.folders.out / "journal.jsonl").exists()
