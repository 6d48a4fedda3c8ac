"""Lock files are read with every SHA-256, and nothing without one is accepted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.release.errors import ReleaseError
from deploy.release.locks import ALL_NAMES, lock_path, read_lock
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("name", ALL_NAMES)
def test_read_lock_finds_every_package_and_hash(name: str) -> None:
    path = lock_path(REPOSITORY, name)
    text = path.read_text()
    pins = read_lock(path)
    assert len(pins) == len(re.findall(r"^[a-z].*==", text, re.M))
    assert sum(len(pin.hashes) for pin in pins) == text.count("--hash=sha256:")


def test_read_lock_keeps_versions_for_several_pythons(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    a_hash = "0" * 64
    path.write_text(
        f"Num_Py==2.4 ; python_version < '3.12' \\\n    --hash=sha256:{a_hash}\n"
        f"num-py==2.5 ; python_version >= '3.12' \\\n    --hash=sha256:{a_hash}\n"
        f"win==1 ; sys_platform == 'win32' \\\n    --hash=sha256:{a_hash}\n"
    )
    pins = read_lock(path)
    assert [(pin.name, pin.version) for pin in pins[:2]] == [("num-py", "2.4"), ("num-py", "2.5")]
    assert [pin.installs_here() for pin in pins[:2]].count(True) == 1
    assert not pins[2].installs_here()


@pytest.mark.parametrize("line", ["idna==3.1\n", f"idna>=3 --hash=sha256:{'0' * 64}\n"])
def test_read_lock_refuses_what_is_not_pinned(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.lock"
    path.write_text(line)
    with pytest.raises(ReleaseError, match="idna has no single version with a SHA-256"):
        read_lock(path)
