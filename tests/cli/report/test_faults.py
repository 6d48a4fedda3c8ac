"""`osteo report` when it is stopped or cannot write: one sentence, and no half report."""

from __future__ import annotations

import os
import pty
import signal
from pathlib import Path

import pytest

from tests.bundles import plain_tile
from tests.cli.program import (
    LONGEST_WAIT_S,
    command,
    run_limited,
    sentences,
    started,
)

pytestmark = pytest.mark.usefixtures("small_model")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The parent of a folder with tiles, and an older report."""
    (tmp_path / "tiles").mkdir()
    for number in range(40):
        tile = plain_tile((200, 100 + number, 150), 64)
        (tmp_path / f"tiles/{number:02}.png").write_bytes(tile)
    for name in ("old.html", "old.csv", "old.json"):
        (tmp_path / name).write_text("an older report")
    return tmp_path


def contents_of(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}


@pytest.mark.parametrize(
    ("output", "limit_kb"),
    [
        *(("new.html", 1), ("old.html", 64)),
        *(
            pytest.param(*case, marks=pytest.mark.exhaustive)
            for case in (("old.html", 1), ("new.html", 16), ("old.html", 16), ("new.html", 64))
        ),
    ],
)
def test_file_that_cannot_grow_is_one_sentence(folder: Path, output: str, limit_kb: int) -> None:
    before = contents_of(folder)
    arguments = command("report", "tiles", "-o", output)
    done = run_limited(arguments, folder, max_file_bytes=1024 * limit_kb)
    assert done.returncode == 1, done.stderr
    assert sentences(done.stderr) == [f"{output} cannot be written: File too large."]
    assert contents_of(folder) == before
    assert {file.name for file in folder.iterdir() if file.is_dir()} == {"tiles"}


def test_locked_folder_is_refused_before_work_begins(folder: Path) -> None:
    folder.chmod(0o555)
    try:
        done = run_limited(
            command("report", "tiles", "-o", "new.html"), folder, is_ordinary_user=True
        )
    finally:
        folder.chmod(0o755)
    assert done.returncode == 2
    assert sentences(done.stderr) == ["new.html cannot be written: Permission denied."]


def test_ctrl_c_leaves_no_half_report(folder: Path) -> None:
    for number in range(2000):
        (folder / f"tiles/more-{number:04}.png").symlink_to("00.png")
    before = contents_of(folder)
    with started(command("report", "tiles", "-o", "old.html"), folder) as process:
        while not list(folder.glob(".osteo-report-*/tiles")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=LONGEST_WAIT_S)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    [sentence] = sentences(stderr)
    assert sentence.startswith("Interrupted after ")
    assert sentence.endswith(" of 2040 files; no report was written.")
    assert contents_of(folder) == before
    assert {file.name for file in folder.iterdir() if file.is_dir()} == {"tiles"}


def test_progress_is_on_standard_error(folder: Path) -> None:
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "wb") as stderr:
        arguments = command("report", "tiles", "-o", "new.html")
        with started(arguments, folder, stderr=stderr) as process:
            output, _ = process.communicate(timeout=LONGEST_WAIT_S)
    assert process.returncode == 0
    assert b"Reporting" in os.read(controller, 100_000)
    os.close(controller)
    assert output.startswith(b"new.html: 40 tiles, ")
    assert output.count(b"\n") == 1
