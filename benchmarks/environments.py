"""One virtual environment per peer under `.bench/`, installed from the peer's lock file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
WORK_DIR: Final = REPOSITORY / ".bench"
PEERS_DIR: Final = Path(__file__).resolve().parent / "peers"


def prepare_environment(peer: str) -> Path:
    """Create a peer's environment, or renew it if its lock file changed.

    Returns:
        Its `bin` folder.

    Raises:
        RuntimeError: the packages could not be installed.
    """
    lock = PEERS_DIR / peer / "requirements.lock"
    environment = WORK_DIR / peer
    stamp = environment / "lock.sha256"
    sha256 = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != sha256:
        print(
            f"Installing {peer} into .bench/{peer} (once; takes a minute or two)", file=sys.stderr
        )
        venv.create(environment, with_pip=True, clear=True)
        _install(environment / "bin" / "python", lock)
        stamp.write_text(sha256)
    return environment / "bin"


def locked_version(peer: str, package: str) -> str:
    """The version of a package that a peer's lock file pins."""
    for line in (PEERS_DIR / peer / "requirements.lock").read_text().splitlines():
        if line.startswith(f"{package}=="):
            return line.removeprefix(f"{package}==").split()[0]
    return "unknown"


def _install(python: Path, lock: Path) -> None:
    command = [
        *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--require-hashes", "-r", str(lock)),
    ]
    if subprocess.run(command, check=False).returncode:
        raise RuntimeError(f"pip could not install {lock.relative_to(REPOSITORY)}; see its output.")
