"""`osteo` as a user who may not read everything."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import plain_tile
from tests.cli.program import command, run, run_limited, sentences
from training.data.drawn_tiles import draw_tile, encode_tile

pytestmark = pytest.mark.usefixtures("small_model")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    for name in ("1.png", "locked/2.png", "listed/3.png", "4.png", "t.png"):
        (tmp_path / "tiles" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tiles" / name).write_bytes(plain_tile((200, 100, 150), 64))
    (tmp_path / "tiles/listed/link.png").symlink_to("3.png")
    modes = {"locked": 0o000, "listed": 0o444, "4.png": 0o000}
    for name, mode in modes.items():
        (tmp_path / "tiles" / name).chmod(mode)
    yield tmp_path / "tiles"
    for name in modes:
        (tmp_path / "tiles" / name).chmod(0o700)


def errors_of(stdout: bytes) -> dict[str, str]:
    return {row["path"]: row["error"] for row in csv.DictReader(stdout.decode().splitlines())}


def test_what_may_not_be_read_is_a_row(folder: Path) -> None:
    done = run_limited(command("classify", ".", "-f", "csv"), folder, is_ordinary_user=True)
    assert done.returncode == 1
    assert errors_of(done.stdout) == {
        "1.png": "",
        "4.png": "The file cannot be read: Permission denied.",
        "listed/3.png": "The file cannot be read: Permission denied.",
        "listed/link.png": "It cannot be read: Permission denied.",
        "locked": "The folder cannot be searched: Permission denied.",
        "t.png": "",
    }
    assert sentences(done.stderr) == ["4 of 6 files and folders could not be classified."]


@pytest.mark.parametrize("named", ["locked/2.png", "listed/3.png", "4.png", "locked"])
def test_named_file_that_may_not_be_read_is_a_row(folder: Path, named: str) -> None:
    done = run_limited(command("classify", named, "-f", "csv"), folder, is_ordinary_user=True)
    assert done.returncode == 1
    assert "Permission denied" in errors_of(done.stdout)[named]


@pytest.mark.parametrize("output", ["locked/x.png", "locked/new/", "listed/x.jpg", "4.png"])
def test_picture_that_may_not_be_written_is_refused_before_work_begins(
    folder: Path, output: str
) -> None:
    done = run_limited(command("explain", "t.png", "-o", output), folder, is_ordinary_user=True)
    assert done.returncode == 2
    (sentence,) = sentences(done.stderr)
    assert "Permission denied" in sentence


def test_picture_that_may_not_be_replaced_stays(tmp_path: Path) -> None:
    (tmp_path / "tile.png").write_bytes(encode_tile(draw_tile("viable_tumor", 256, 0)))
    (tmp_path / "maps").mkdir()
    old = tmp_path / "maps/tile.png.png"
    old.write_bytes(b"old")
    old.chmod(0o444)
    done = run_limited(
        command("explain", "tile.png", "-o", "maps"), tmp_path, is_ordinary_user=True
    )
    assert done.returncode == 1
    assert "cannot be written: Permission denied." in sentences(done.stderr)[0]
    assert old.read_bytes() == b"old"


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    done = run(command("classify", "pipe.jpg", "/dev/zero", "-f", "csv"), tmp_path)
    assert done.returncode == 1
    assert set(errors_of(done.stdout).values()) == {"The file cannot be read: not a regular file."}
