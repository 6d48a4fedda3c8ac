"""Install linters and generators of clients, pinned by hash, into a cache that test runs share."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LOCKS: Final = Path(__file__).parent / "tools"
LOCK_NAMES: Final = ("requirements.lock", "package.json", "package-lock.json", ".npmrc")
_DONE: Final = "installed"
_INSTALL_WITHIN_S: Final = 600.0
_ENVIRONMENT: Final = {
    "NO_COLOR": "1",
    "REDOCLY_TELEMETRY": "off",
    # For programs that run for seconds: compile little, collect with one thread.
    "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


@dataclass(frozen=True, slots=True)
class Tools:
    """A folder with a Python environment, which contains Node.js, and the packages of npm."""

    folder: Path

    @property
    def bin(self) -> Path:
        """Commands of the Python environment: python, node, npm and the generators."""
        return self.folder / "python" / "bin"

    @property
    def generator_jar(self) -> Path:
        """The jar of openapi-generator; its Jackson is the one that generated code needs."""
        (jar,) = self.folder.glob("python/lib/*/site-packages/openapi_generator_cli/*.jar")
        return jar

    def run(self, command: str, *arguments: object, cwd: Path) -> str:
        """Run a command of the Python environment or of npm, in a folder.

        Returns:
            What it wrote to standard output.

        Raises:
            AssertionError: it failed; the message is what it wrote.
        """
        of_npm = self.folder / "node_modules" / ".bin" / command
        program = [self.bin / "node", of_npm] if of_npm.exists() else [self.bin / command]
        return run([*program, *arguments], cwd, self.bin)


def run(command: list[object], cwd: Path, bin_dir: Path | None = None) -> str:
    """Run a command, with `bin_dir` first in the PATH; see `Tools.run`."""
    path = os.pathsep.join(str(part) for part in (bin_dir, os.environ["PATH"]) if part)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | _ENVIRONMENT | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=_INSTALL_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def install(locks: Path = _LOCKS, name: str = "clients") -> Tools:
    """Install the tools, or return those that an earlier test run installed.

    Args:
        locks: folder of `LOCK_NAMES`.
        name: of the cache.

    Raises:
        AssertionError: pip or npm failed, for example because there is no network.
    """
    content = sys.version.encode() + b"".join((locks / lock).read_bytes() for lock in LOCK_NAMES)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osteo-tiles"
    folder = cache / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be installing
        if not (folder / _DONE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install_into(Tools(folder), locks)
            (folder / _DONE).touch()
    return Tools(folder)


def _install_into(tools: Tools, locks: Path) -> None:
    venv.create(tools.folder / "python", with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", tools.bin / "python", "install", "--quiet"]
    hashes = ["--no-deps", "--require-hashes", "-r", locks / "requirements.lock"]
    run([*pip, "--disable-pip-version-check", *hashes], tools.folder)
    for name in LOCK_NAMES[1:]:
        shutil.copy(locks / name, tools.folder)
    run([tools.bin / "npm", "ci"], tools.folder, tools.bin)
