"""`osteo-train study` as a user runs it: plan, errors, Ctrl-C, kill -9, report."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.training.command_line import wait_for
from tests.training.experiments.study.conftest import TINY_STUDY, MakeStudy
from tests.training.forked import forked
from training.cli import app
from training.data.index import Index
from training.experiments.study.journal import JOURNAL_NAME
from training.storage.frozen_model import write_json

# The study with sums for a backbone, and a pause before each fit.
_SLOW = """
import sys, time
from tests.training.experiments.study.conftest import infer_colours
from training.cli import app
from training.experiments.study import engines
from training.experiments.study.features import FeatureSource
FeatureSource._open_backbone = lambda *_: infer_colours
fit = engines.fit_head
def slow(*arguments):
    time.sleep(0.05)
    return fit(*arguments)
engines.fit_head = slow
app(sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OSTEO_WEIGHTS", raising=False)  # it would override the tiny study
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def given(drawn_dir: Path, drawn_index: Index, study_file: Path) -> list[str]:
    index = Path("index.json").absolute()
    write_json(index, drawn_index)
    paths = {"--data-dir": drawn_dir, "--index": index, "--config": study_file}
    return ["study", *(str(word) for pair in paths.items() for word in pair)]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def output_of(result: Result) -> str:
    return " ".join(result.output.split())


def has_lines(out: str, n_lines: int) -> bool:
    journal = Path(out) / JOURNAL_NAME
    return journal.exists() and journal.read_bytes().count(b"\n") >= n_lines


def keys_in(out: str) -> list[str]:
    return [json.loads(line)["key"] for line in (Path(out) / JOURNAL_NAME).read_text().splitlines()]


def test_plan_prints_the_runs_and_writes_nothing(given: list[str]) -> None:
    result = run(*given, "--plan", "--cache-dir", "cache", "--out", "out")
    assert result.exit_code == 0, result.output
    said = output_of(result)
    assert "10 runs, 0 finished; 6 more beyond the paper follow" in said
    assert "Features to compute, mobilenetv2: 36" in said
    assert "10 fits" in said
    assert not Path("cache").exists()
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("change", "arguments", "says"),
    [
        (("runs = 2", "rnus = 2"), [], "grid.rnus: there is no such key"),
        (("", ""), ["--weights", "mobilenetv2=none.h5"], "There are no weights at none.h5"),
        (("", ""), ["--system", "xception"], "There is no system 'xception' in this study"),
        (("slide_folds = 2", "slide_folds = 9"), [], "needs at least 9. See [levels]"),
        (("", ""), ["--index", "nowhere.json"], "osteo-train index"),
        (("n_views = 2", 'mode = "online"'), ["--engine", "ray"], "leave out --engine ray"),
    ],
)
def test_study_refuses_wrong_input_in_one_sentence_before_any_work(
    given: list[str], study_file: Path, change: tuple[str, str], arguments: list[str], says: str
) -> None:
    study_file.write_text(TINY_STUDY.replace(*change, 1))
    result = run(*given, *arguments)
    assert result.exit_code == 1, result.output
    assert says in output_of(result)
    assert "Traceback" not in result.output
    assert not list(Path("runs").glob("cache/*/*.chunk"))


def test_every_missing_weights_file_is_named_at_once(given: list[str], study_file: Path) -> None:
    two = '[systems.xception]\nweights = "x.h5"\nside_px = 96\n\n[head]'
    study_file.write_text(TINY_STUDY.replace("[head]", two))
    result = run(*given, "--weights", "mobilenetv2=m.h5")
    assert result.exit_code == 1
    said = output_of(result)
    assert "m.h5" in said
    assert "x.h5" in said
    assert "--weights xception=FILE" in said


def test_not_run_leaves_a_system_out_and_prints_the_reason(
    given: list[str], study_file: Path
) -> None:
    two = '[systems.xception]\nweights = "x.h5"\nside_px = 96\n\n[head]'
    study_file.write_text(TINY_STUDY.replace("[head]", two))
    result = run(*given, "--plan", "--not-run", "xception=no weights = here")
    assert result.exit_code == 0, result.output
    assert "Not run, xception: no weights = here" in output_of(result)


@pytest.mark.parametrize("entry", ["mobilenetv2", "mobilenetv2=", "mobilenet=no weights"])
def test_not_run_without_system_or_reason_is_a_usage_error(given: list[str], entry: str) -> None:
    result = run(*given, "--not-run", entry)
    assert result.exit_code == 2
    assert "SYSTEM=REASON" in output_of(result)


def test_weights_of_an_unknown_system_are_a_usage_error(given: list[str]) -> None:
    result = run(*given, "--weights", "mobilenet=m.h5")
    assert result.exit_code == 2
    assert "SYSTEM=FILE" in output_of(result)


def test_study_refuses_a_full_disk_before_any_work(
    given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    result = run(*given)
    assert result.exit_code == 1
    assert "MiB free" in output_of(result)


@pytest.mark.usefixtures("no_figures")
def test_study_that_was_killed_and_interrupted_ends_like_an_uninterrupted_one(
    given: list[str], make_study: MakeStudy
) -> None:
    del make_study  # its backbone is used by the runs in this process
    out = Path("out").absolute()
    log_file = Path("log").absolute()
    with forked(*given, "--out", out, log_file=log_file, code=_SLOW) as killed:
        wait_for(lambda: has_lines("out", 2), killed)
        killed.kill()
    n_kept = len(keys_in("out"))
    with (out / JOURNAL_NAME).open("ab") as stream:
        stream.write(b'{"key": "half a li')

    with forked(*given, "--out", out, log_file=log_file, code=_SLOW) as interrupted:
        wait_for(lambda: has_lines("out", n_kept + 2), interrupted)
        interrupted.send_signal(signal.SIGINT)
        said = interrupted.communicate()
    assert interrupted.returncode == 130
    assert f"Stopped: {len(keys_in('out'))} of 1" in said
    assert "runs are finished. Run the same command again to resume" in " ".join(said.split())
    assert "Traceback" not in said

    for folder in ("out", "whole"):
        result = run(*given, "--out", folder)
        assert result.exit_code == 0, result.output
    keys = keys_in("out")
    assert len(keys) == len(set(keys)) == 16
    results, journals = zip(*[_results_of(out) for out in ("out", "whole")], strict=True)
    assert results[0] == results[1]
    assert journals[0] == journals[1]


def _results_of(out: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """The table's rows and the journal's records by key, without their seconds."""
    with (Path(out) / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    lines = (Path(out) / JOURNAL_NAME).read_text().splitlines()
    records = {record["key"]: record for record in map(json.loads, lines)}
    for entry in (*rows, *records.values()):
        del entry["seconds"]
    return rows, records
