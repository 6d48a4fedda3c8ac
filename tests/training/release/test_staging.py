from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from training.release.staging import staging

KILLED = """
import os, pathlib, signal, sys
from training.release.staging import staging
with staging(pathlib.Path(sys.argv[1])) as folder:
    (folder / "graph").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_staging_removes_its_folder_at_the_end(tmp_path: Path) -> None:
    with staging(tmp_path) as folder:
        (folder / "made").touch()
        assert folder.parent == tmp_path
        assert folder.name.startswith("."), "versions are numbers"
    assert not any(tmp_path.iterdir())


def test_staging_removes_the_folder_of_a_killed_process_only(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    arguments = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(arguments, cwd=root, check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    with staging(tmp_path) as living, staging(tmp_path) as other:
        assert not left.exists()
        assert living.is_dir()
        assert other != living


def test_staging_keeps_a_folder_that_is_not_locked_yet(tmp_path: Path) -> None:
    young = tmp_path / ".releasing-young"
    young.mkdir()
    with staging(tmp_path):
        assert young.is_dir()
