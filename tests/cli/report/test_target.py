"""Where a report may be written, and what is never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.commands import app
from tests.bundles import FakeRuntime
from training.data.drawn_tiles import draw_tile, encode_tile

TISSUE = encode_tile(draw_tile("viable_tumor", 256, 0))
WRITTEN = {"report.html", "report.csv", "report.json"}

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which contains a folder with one tile."""
    here = tmp_path / "here"
    (here / "tiles").mkdir(parents=True)
    (here / "tiles/1.png").write_bytes(TISSUE)
    monkeypatch.chdir(here)
    return here


def report(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments])


def names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if file.name != "tiles"}


def test_report_leaves_three_files_and_says_so(folder: Path) -> None:
    run = report("tiles", "-o", "report.html")
    assert run.exit_code == 0, run.output
    assert names_in(folder) == WRITTEN
    assert run.stdout == (
        "report.html: 1 tile, 0 to look at. The rows are beside it in report.csv and report.json.\n"
    )


def test_report_runs_the_model_once_per_tile(folder: Path, runtime: FakeRuntime) -> None:
    assert folder.is_dir()
    report("tiles", "-o", "report.html")
    assert runtime.n_tiles == 3 + 1, "3 checks at start"


def test_older_report_is_replaced(folder: Path) -> None:
    assert report("tiles", "-o", "report.html").exit_code == 0
    (folder / "report.html").write_text("old")
    assert report("tiles", "-o", "report.html").exit_code == 0
    assert "Tiles of tiles" in (folder / "report.html").read_text("utf-8")


def test_linked_page_is_replaced_where_it_is(folder: Path) -> None:
    (folder / "far").mkdir()
    (folder / "report.html").symlink_to("far/away.html")
    assert report("tiles", "-o", "report.html").exit_code == 0
    assert (folder / "report.html").is_symlink()
    assert names_in(folder / "far") == {"away.html", "away.csv", "away.json"}


@pytest.mark.parametrize("table", ["report.csv", "report.json"])
def test_table_without_a_page_is_never_replaced(folder: Path, table: str) -> None:
    (folder / table).write_text("somebody's labels")
    run = report("tiles", "-o", "report.html")
    assert run.exit_code == 2
    assert "it may be no report" in " ".join(run.stderr.split())
    assert (folder / table).read_text() == "somebody's labels"
    assert names_in(folder) == {table}


def test_tile_is_never_replaced(folder: Path) -> None:
    (folder / "report.html").symlink_to("tiles/1.png")
    run = report("tiles", "-o", "report.html")
    assert run.exit_code == 2
    assert "is one of the tiles" in run.stderr
    assert (folder / "tiles/1.png").read_bytes() == TISSUE


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("", "empty output path"),
        ("report", "must end in .html"),
        ("report.pdf", "must end in .html"),
        ("-", "must end in .html"),
        ("/dev/full", "must end in .html"),
        ("folder.html", "no regular file"),
        ("device.html", "no regular file"),
        ("loop.html", "cannot be written"),
        ("nowhere/report.html", "no folder"),
        ("tiles/1.png/report.html", "no folder"),
    ],
)
def test_other_outputs_are_refused_before_work_begins(
    folder: Path, runtime: FakeRuntime, output: str, sentence: str
) -> None:
    (folder / "folder.html").mkdir()
    (folder / "device.html").symlink_to("/dev/full")
    (folder / "loop.html").symlink_to("loop.html")
    before = names_in(folder)
    run = report("tiles", "-o", output)
    assert (run.exit_code, sentence in " ".join(run.stderr.split())) == (2, True), run.output
    assert runtime.n_tiles == 0
    assert names_in(folder) == before


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(["nowhere"], 2), (["empty"], 2), (["tiles", "--size-px", "63"], 2), (["bad.png"], 1)],
)
def test_exit_codes_are_those_of_classify(
    folder: Path, arguments: list[str], exit_code: int
) -> None:
    (folder / "empty").mkdir()
    (folder / "bad.png").write_bytes(b"")
    run = report(*arguments, "-o", "report.html")
    assert run.exit_code == exit_code, run.output
    assert (folder / "report.html").exists() == (exit_code == 1)
