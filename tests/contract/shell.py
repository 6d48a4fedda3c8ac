"""Type a page's commands in a folder that looks like a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY


def install_osteo_train(folder: Path, setting: str = "") -> None:
    """Write `.venv/bin/osteo-train` into a folder.

    Args:
        folder: in which commands are typed.
        setting: Python that runs before the command is imported, to make its work small.
    """
    script = folder / ".venv" / "bin" / "osteo-train"
    script.parent.mkdir(parents=True)
    script.write_text(
        f"#!{sys.executable}\n"
        f"import sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
        f"{setting}\n"
        "from training.cli import app\napp(prog_name='osteo-train')\n"
    )
    script.chmod(0o755)


def run_shell(commands: str, folder: Path, **environ: str) -> str:
    """Run commands with bash, which stops at the first that fails; return all that they print."""
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", **environ},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}"
    return done.stdout
