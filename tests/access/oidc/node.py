"""Install Node.js and the packages of the provider, pinned by hash, into a cache of all runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import venv
from pathlib import Path
from typing import Final

from tests.clients.tools import Tools, run

_HERE: Final = Path(__file__).parent
_LOCKS: Final = ("requirements.lock", "package.json", "package-lock.json", ".npmrc")
_DONE: Final = "installed"


def install() -> Tools:
    """Install the packages, or return those that an earlier test run installed.

    Raises:
        AssertionError: pip or npm failed, for example because there is no network.
    """
    content = sys.version.encode() + b"".join((_HERE / lock).read_bytes() for lock in _LOCKS)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osteo-tiles"
    folder = cache / f"oidc-{hashlib.sha256(content).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "oidc.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be installing
        if not (folder / _DONE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install_into(Tools(folder))
            (folder / _DONE).touch()
    return Tools(folder)


def _install_into(tools: Tools) -> None:
    venv.create(tools.folder / "python", with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", tools.bin / "python", "install", "--quiet"]
    hashes = ["--no-deps", "--require-hashes", "-r", _HERE / "requirements.lock"]
    run([*pip, "--disable-pip-version-check", *hashes], tools.folder)
    for name in _LOCKS[1:]:
        shutil.copy(_HERE / name, tools.folder)
    run([tools.bin / "npm", "ci"], tools.folder, tools.bin)
