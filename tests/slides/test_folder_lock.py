"""Two processes never work in one folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.slides.folder_lock import locked
from tests.conftest import REPOSITORY

HOLD = """
import sys, time
from pathlib import Path
from app.slides.folder_lock import locked
with locked(Path(sys.argv[1]), 0):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_folder_is_locked_until_the_end_of_the_block(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    with locked(folder, 0), pytest.raises(TimeoutError), locked(folder, 0.1):
        pytest.fail("the folder was locked twice")
    with locked(folder, 0):
        pass


def test_lock_ends_with_its_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(TimeoutError), locked(tmp_path, 0):
            pytest.fail("the folder was locked twice")
        holder.kill()
        with locked(tmp_path, 60):
            pass
