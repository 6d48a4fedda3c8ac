"""Several processes change the keys at once, and disks on which they cannot be changed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.access.key_file import read_key_file
from app.core.errors import SettingsError
from tests.access.lookups import created
from tests.conftest import REPOSITORY
from tests.forking import ForkedProcess

CREATE_MANY = """
import sys
from pathlib import Path
from app.access.caller import Scope
from app.access.key_changes import create_key
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    create_key(Path(sys.argv[1]), f"{sys.argv[2]}-{number}", [Scope.CLASSIFY], None)
"""
CREATE_FIRST = """
import sys
from pathlib import Path
from app.access.key_changes import create_first_key
print("ready", flush=True)
sys.stdin.readline()
print(create_first_key(Path(sys.argv[1])))
"""


def outputs_at_once(program: str, path: Path, n_processes: int) -> list[str]:
    """Start a program several times, let all go at once, and return what they print."""
    processes = [
        ForkedProcess(
            [str(path), f"p{number}"],
            code=program,
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(n_processes)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * n_processes
    return outputs


def test_processes_that_create_keys_at_once_lose_none(path: Path) -> None:
    outputs_at_once(CREATE_MANY, path, 3)
    names = {entry.name for entry in read_key_file(path)[0].keys}
    assert names == {f"p{process}-{number}" for process in range(3) for number in range(25)}


def test_one_of_several_processes_creates_the_first_key(path: Path) -> None:
    printed = sorted(outputs_at_once(CREATE_FIRST, path, 4))
    assert printed[:3] == ["None\n"] * 3
    assert printed[3].startswith("osteo_")
    assert [entry.name for entry in read_key_file(path)[0].keys] == ["first"]


@contextmanager
def _mounted(folder: Path) -> Iterator[Path]:
    """A file system of 64 KiB; the test is skipped if it may not be mounted."""
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small file system")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)  # noqa: S607 - mount was found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with _mounted(tmp_path / "disk") as folder:
        yield folder


def test_full_disk_leaves_the_old_keys(small_disk: Path) -> None:
    path = small_disk / "keys.json"
    created(path, "scanner")
    before = path.read_bytes()
    with pytest.raises(OSError, match="No space"):
        (small_disk / "filler").write_bytes(bytes(65_536))
    with pytest.raises(
        SettingsError, match=r"written: No space left on device\. Nothing was changed\. Make room"
    ):
        created(path, "viewer")
    assert path.read_bytes() == before
    assert not (small_disk / "keys.json.part").exists()
    (small_disk / "filler").unlink()
    created(path, "viewer")
    assert len(read_key_file(path)[0].keys) == 2


def test_read_only_mount_leaves_the_old_keys(small_disk: Path) -> None:
    path = small_disk / "keys.json"
    created(path, "scanner")
    before = path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)  # noqa: S607 - of PATH
    with pytest.raises(SettingsError, match=r"Read-only file system\..*Let this user write"):
        created(path, "viewer")
    assert path.read_bytes() == before


def test_failure_at_the_last_step_leaves_the_old_keys(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created(path, "scanner")
    before = path.read_bytes()

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SettingsError, match="cannot be written: Input/output error"):
        created(path, "viewer")
    assert path.read_bytes() == before
    assert not path.with_name("keys.json.part").exists()
