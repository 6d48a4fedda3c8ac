"""Type a page's commands in a folder that looks like a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.forking import RUN_TRAINING, TRAINING, server_of


def install_osteo_train(folder: Path, setting: str = "", *, is_forked: bool = False) -> None:
    """Write `.venv/bin/osteo-train` into a folder.

    Args:
        folder: in which commands are typed.
        setting: Python that runs before the command is imported, to make its work small.
        is_forked: whether a process that has imported TensorFlow runs the command.
    """
    script = folder / ".venv" / "bin" / "osteo-train"
    script.parent.mkdir(parents=True, exist_ok=True)
    code = f"{setting}\n{RUN_TRAINING}\n"
    if is_forked:
        path = server_of(TRAINING)
        code = f"from tests.forking import call\nsys.exit(call({path!r}, {code!r}, sys.argv))\n"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n{code}"
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
