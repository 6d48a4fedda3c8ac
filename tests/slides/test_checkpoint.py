from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.slides.checkpoint import Checkpoint, stored_rows
from app.slides.tile_rows import TileRow
from tests.conftest import REPOSITORY

WHOLE = TileRow(
    2,
    1,
    0.75,
    probabilities=(0.1, 0.7, 0.2),
    reasons=("ambiguous", "blurred"),
    priority=0.8,
    distance=0.05,
    evidence=np.arange(4, dtype=np.float16).tobytes(),
)
UNREADABLE = TileRow(0, 0, 0.3, error="the tile has no data.")


def test_rows_come_back_as_they_were_in_the_order_of_the_grid(tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "tiles", "key") as checkpoint:
        checkpoint.append([WHOLE, UNREADABLE])
        assert checkpoint.done() == {(2, 1), (0, 0)}
        assert list(checkpoint.rows()) == [UNREADABLE, WHOLE]
    assert stored_rows(tmp_path / "tiles") == [UNREADABLE, WHOLE]
    shown = WHOLE.evidence_map((2, 2))
    assert shown is not None
    assert shown.tolist() == [[0, 1], [2, 3]]
    assert WHOLE.class_index == 1
    assert UNREADABLE.class_index is None


def test_the_same_key_resumes_and_another_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "tiles"
    with Checkpoint(path, "key") as checkpoint:
        checkpoint.append([WHOLE])
    with Checkpoint(path, "key") as checkpoint:
        assert checkpoint.done() == {(2, 1)}
    with Checkpoint(path, "other") as checkpoint:
        assert checkpoint.done() == set()


def test_a_tile_that_is_written_twice_has_its_new_row(tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "tiles", "key") as checkpoint:
        checkpoint.append([TileRow(2, 1, 0.5, error="first")])
        checkpoint.append([WHOLE])
        assert list(checkpoint.rows()) == [WHOLE]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_file_that_is_no_database_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tiles"
    path.write_bytes(content)
    with Checkpoint(path, "key") as checkpoint:
        checkpoint.append([WHOLE])
    assert stored_rows(path) == [WHOLE]


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "tiles"
    with Checkpoint(path, "key") as checkpoint:
        checkpoint.append(TileRow(column, 0, 0.5, evidence=b"0" * 400) for column in range(200))
    content = bytearray(path.read_bytes())
    content[8192:20480] = bytes(12288)
    path.write_bytes(content)
    with Checkpoint(path, "key") as checkpoint:
        assert checkpoint.done() == set()
        checkpoint.append([WHOLE])
        assert list(checkpoint.rows()) == [WHOLE]


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="tiles cannot be opened"):
        Checkpoint(tmp_path / "missing" / "tiles", "key")
    with pytest.raises(OSError, match="cannot be read"):
        stored_rows(tmp_path / "tiles")


_APPEND_AND_DIE = """
import os, signal, sys
from pathlib import Path
from app.slides.checkpoint import Checkpoint
from app.slides.tile_rows import TileRow
checkpoint = Checkpoint(Path(sys.argv[1]), "key")
for row in range(3):
    checkpoint.append([TileRow(column, row, 0.5) for column in range(32)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_committed_rows_survive_a_kill(tmp_path: Path) -> None:
    died = subprocess.run(
        [sys.executable, "-c", _APPEND_AND_DIE, tmp_path / "tiles"],
        cwd=REPOSITORY,
        env=os.environ,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    with Checkpoint(tmp_path / "tiles", "key") as checkpoint:
        assert len(checkpoint.done()) == 96


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "tiles", "key") as checkpoint:
        # As a full disk, but without one: no more pages than there are.
        checkpoint._connection.execute("PRAGMA max_page_count = 8")
        with pytest.raises(
            OSError, match="tiles cannot be written: database or disk is full"
        ) as it:
            checkpoint.append(TileRow(column, 0, 0.5, evidence=b"0" * 400) for column in range(500))
        assert it.value.errno == errno.ENOSPC
        assert checkpoint.done() == set(), "all rows of a commit, or none"
