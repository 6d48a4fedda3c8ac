"""`osteo slide` as users run it: a process, the released model, drawn slides."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.cli.endings import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from app.slides.checkpoint import COMMIT_ROWS, stored_rows
from app.slides.folder_lock import LOCK_NAME, locked
from app.slides.outputs.writing import OUTPUT_NAMES
from app.slides.run import CHECKPOINT_NAME
from app.slides.tile_rows import TileRow
from tests.bundles import small_models
from tests.cli import program
from tests.conftest import REPOSITORY
from tests.forking import RUN_APP, ForkedProcess
from tests.servers import wait_until
from tests.slides.drawn_slides import FALSE_IDS, Drawing, DrawnSlide, draw_slide

SMALL = Drawing(columns=2, rows=2, tissue=1.0, mpp=2.0)
small_model = pytest.mark.usefixtures("small_model")
HALTING = f"""
from app.slides.classify import TileWork
answer, cells = TileWork._answer, []
def halt(self, cell):
    cells.append(cell)
    if len(cells) == {COMMIT_ROWS + 3}:
        self._is_over.wait()
    return answer(self, cell)
TileWork._answer = halt
{RUN_APP}
"""
"""`osteo slide --threads 1` that waits at the third tile after a commit until it is ended."""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    ended = program.run(program.command("slide", *arguments), cwd=REPOSITORY)
    return subprocess.CompletedProcess(
        ended.args, ended.returncode, ended.stdout.decode(), ended.stderr.decode()
    )


def summary_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return document


@pytest.fixture(scope="module")
def biopsy(tmp_path_factory: pytest.TempPathFactory) -> DrawnSlide:
    """An Aperio file with a false name on its label, in its macro image and in its comments."""
    path = tmp_path_factory.mktemp("slides") / "biopsy.svs"
    return draw_slide(path, Drawing(kind="svs", columns=4, rows=3, tissue=0.9))


@pytest.fixture(scope="module")
def answered(
    biopsy: DrawnSlide, tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("biopsy")
    return run(biopsy.path, "-o", folder), folder


def test_slide_writes_every_output_and_says_what_it_found(
    biopsy: DrawnSlide, answered: tuple[subprocess.CompletedProcess[str], Path]
) -> None:
    ended, folder = answered
    assert ended.returncode == 0, ended.stderr
    written = {path.name for path in folder.iterdir()}
    assert written == {*OUTPUT_NAMES, CHECKPOINT_NAME, LOCK_NAME}
    summary, n_tissue = summary_of(folder), sum(1 for _ in biopsy.cells())
    assert summary["complete"]
    assert summary["tiles"]["n_tissue"] == summary["tiles"]["n_classified"] == n_tissue
    assert ended.stdout.startswith(f"{biopsy.path}: {n_tissue} tiles. ")
    assert str(folder / "report.html") in ended.stdout
    with (folder / "tiles.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    places = [(int(row["column"]), int(row["row"])) for row in rows]
    assert places == [(column, row) for column, row, _ in biopsy.cells()]


def test_nothing_that_is_written_has_the_name_on_the_label(
    answered: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    ended, folder = answered
    written = [path.read_bytes() for path in folder.iterdir()]
    for name in FALSE_IDS:
        assert all(name.encode() not in content for content in written)
        assert name not in ended.stdout + ended.stderr


def test_the_same_command_again_classifies_nothing_and_writes_the_same_bytes(
    biopsy: DrawnSlide, answered: tuple[subprocess.CompletedProcess[str], Path]
) -> None:
    _, folder = answered
    before = {name: (folder / name).read_bytes() for name in OUTPUT_NAMES}
    rows_before = _stored(folder)
    assert run(biopsy.path, "-o", folder).returncode == 0
    assert {name: (folder / name).read_bytes() for name in OUTPUT_NAMES} == before
    assert _stored(folder) == rows_before


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A slide of more tiles than one commit has, and the results of a run without interruption."""
    folder = tmp_path_factory.mktemp("large")
    drawing = replace(SMALL, columns=COMMIT_ROWS // 4, rows=5)
    slide = draw_slide(folder / "large.tif", drawing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTEO_MODELS_DIR", str(small_models()))
        assert run(slide.path, "-o", folder / "whole").returncode == 0
    return slide.path, folder / "whole"


@small_model
@pytest.mark.parametrize(
    ("end", "expected"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, EXIT_INTERRUPTED)],
    ids=["kill", "ctrl-c"],
)
def test_a_run_that_was_stopped_resumes_where_it_was(
    large: tuple[Path, Path], tmp_path: Path, end: signal.Signals, expected: int
) -> None:
    (path, whole), out = large, tmp_path / "out"
    arguments = ("slide", path, "-o", out, "--threads", 1)
    with ForkedProcess(
        list(map(str, arguments)),
        code=HALTING,
        cwd=REPOSITORY,
        env=program.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        wait_until(lambda: bool(_stored(out)) or process.poll() is not None, timeout_s=300)
        process.send_signal(end)
        _, errors = process.communicate()
    assert process.returncode == expected, errors
    kept = _stored(out)
    assert COMMIT_ROWS <= len(kept) <= COMMIT_ROWS + 3 < len(_stored(whole))
    assert not (out / "summary.json").exists()
    if end == signal.SIGINT:
        assert b"Interrupted. The same command resumes." in errors

    ended = run(*arguments[1:])
    assert ended.returncode == 0, ended.stderr
    assert _stored(out).keys() == _stored(whole).keys()
    assert kept.items() <= _stored(out).items(), "what was done is not done again"
    assert (out / "tiles.csv").read_bytes() == (whole / "tiles.csv").read_bytes()


def test_several_slides_are_one_specimen(tmp_path: Path) -> None:
    paths = [tmp_path / "block-a.tif", tmp_path / "block-b.tif"]
    for seed, path in enumerate(paths):
        draw_slide(path, replace(SMALL, columns=3, seed=seed))
    ended = run(*paths, "-o", tmp_path / "out")
    assert ended.returncode == 0, ended.stderr
    summaries = [summary_of(tmp_path / "out" / path.stem) for path in paths]
    specimen = json.loads((tmp_path / "out" / "specimen.json").read_text())
    for count in ("n_viable", "n_non_viable"):
        assert specimen["necrosis"][count] == sum(s["necrosis"][count] for s in summaries)
    assert specimen["slides"] == sorted(s["sha256"] for s in summaries)
    assert "Specimen: " in ended.stdout


@small_model
def test_a_slide_that_cannot_be_used_is_named_and_the_others_are_classified(
    tmp_path: Path,
) -> None:
    good = draw_slide(tmp_path / "good.tif", SMALL).path
    bad = tmp_path / "bad.svs"
    bad.write_text("no slide")
    ended = run(bad, good, "-o", tmp_path / "out")
    assert ended.returncode == EXIT_FAILED
    assert f"{bad}: The file cannot be used as a slide" in ended.stderr
    assert "1 of 2 slides could not be classified." in ended.stderr
    assert summary_of(tmp_path / "out" / "good")["complete"]
    assert not json.loads((tmp_path / "out" / "specimen.json").read_text())["complete"]
    assert "Specimen, incomplete: " in ended.stdout


@small_model
def test_a_folder_in_which_another_run_works_is_left_alone(tmp_path: Path) -> None:
    path, out = draw_slide(tmp_path / "scan.tif", SMALL).path, tmp_path / "out"
    with locked(out, 0):
        ended = run(path, "-o", out)
    assert ended.returncode == EXIT_FAILED
    assert f"{out}: another process works in the folder." in ended.stderr


@small_model
def test_an_output_that_is_a_file_is_named(tmp_path: Path) -> None:
    path, taken = draw_slide(tmp_path / "scan.tif", SMALL).path, tmp_path / "taken"
    taken.write_text("mine")
    ended = run(path, "-o", taken)
    assert ended.returncode == EXIT_USAGE
    assert f"{taken}: Not a directory." in ended.stderr
    assert taken.read_text() == "mine"


@small_model
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_never_ends_is_refused_and_not_read(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/zero")
    if kind == "pipe":
        path = tmp_path / "pipe.svs"
        os.mkfifo(path)
    ended = run(path, "-o", tmp_path / "out")
    assert ended.returncode == EXIT_FAILED
    assert "it is neither a file nor a folder" in ended.stderr


def test_a_missing_model_ends_with_2(tmp_path: Path) -> None:
    path = draw_slide(tmp_path / "scan.tif", SMALL).path
    arguments = program.command("slide", path, "-o", tmp_path / "out")
    ended = program.run(arguments, cwd=REPOSITORY, OSTEO_MODELS_DIR=str(tmp_path))
    assert ended.returncode == EXIT_USAGE
    assert program.sentences(ended.stderr)[0].startswith("No model bundle at")


@small_model
def test_results_do_not_go_into_the_slide(tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    ended = run(series, "-o", series / "out")
    assert ended.returncode == EXIT_USAGE
    assert "cannot go into the slide" in ended.stderr


@small_model
def test_a_missing_resolution_is_asked_for_and_then_stated(tmp_path: Path) -> None:
    path = draw_slide(tmp_path / "scan.tif", replace(SMALL, states_mpp=False)).path
    ended = run(path, "-o", tmp_path / "out")
    assert ended.returncode == EXIT_FAILED
    assert "micrometres per pixel" in ended.stderr
    assert run(path, "-o", tmp_path / "out", "--mpp", 2.0).returncode == 0
    slide = summary_of(tmp_path / "out")["slide"]
    assert (slide["mpp"], slide["mpp_source"]) == (2.0, "caller")


@small_model
@pytest.mark.parametrize(
    ("names", "expected"),
    [(["missing.svs"], "There is no slide"), (["a.tif", "a.tif"], "A slide is named twice.")],
)
def test_what_cannot_be_tried_ends_with_2(tmp_path: Path, names: list[str], expected: str) -> None:
    (tmp_path / "a.tif").write_bytes(b"")
    ended = run(*(tmp_path / name for name in names), "-o", tmp_path / "out")
    assert ended.returncode == EXIT_USAGE
    assert expected in ended.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = draw_slide(tmp_path / "scan.tif", SMALL).path
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    ended = run(path, "-o", closed / "out")
    assert ended.returncode == EXIT_FAILED
    assert str(closed) in ended.stderr


def _stored(folder: Path) -> dict[tuple[int, int], TileRow]:
    """Rows by column and row, as far as they are committed."""
    try:
        return {(row.column, row.row): row for row in stored_rows(folder / CHECKPOINT_NAME)}
    except OSError:  # not yet there
        return {}
