"""A bundle appears in its folder when it is finished and checked, and not before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.core.manifest import MANIFEST_NAME
from tests.conftest import REPOSITORY
from training.errors import RunError
from training.release.bundle import new_bundle

KILLED = """
import os, pathlib, signal, sys
from training.release.bundle import new_bundle
with new_bundle(pathlib.Path(sys.argv[1])) as draft:
    (draft / "manifest.json").write_text("{}")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_new_bundle_moves_what_the_block_made(tmp_path: Path) -> None:
    bundle_dir = tmp_path / "models" / "m" / "1"
    with new_bundle(bundle_dir) as draft:
        assert (draft.parent.name, draft.name) == ("m", "1")
        (draft / MANIFEST_NAME).write_text("{}")
        assert not bundle_dir.exists()
    assert [path.name for path in bundle_dir.iterdir()] == [MANIFEST_NAME]
    assert [path.name for path in bundle_dir.parent.iterdir()] == ["1"]


def test_new_bundle_leaves_nothing_if_the_check_fails(tmp_path: Path) -> None:
    def make() -> None:
        with new_bundle(tmp_path / "m" / "1") as draft:
            (draft / MANIFEST_NAME).write_text("{}")
            raise RunError("The runtimes differ.")

    with pytest.raises(RunError, match="differ"):
        make()
    assert list((tmp_path / "m").iterdir()) == []


def test_new_bundle_leaves_no_version_if_it_is_killed(tmp_path: Path) -> None:
    bundle_dir = tmp_path / "m" / "1"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(bundle_dir)], cwd=REPOSITORY, check=False
    )
    assert killed.returncode == -9
    assert not bundle_dir.exists()
    with new_bundle(bundle_dir):
        pass
    assert [path.name for path in bundle_dir.parent.iterdir()] == ["1"]


def test_new_bundle_refuses_a_released_one(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_text("{}")
    with pytest.raises(RunError, match="never changes"), new_bundle(tmp_path):
        pass
