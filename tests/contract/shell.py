"""Type a page's commands in a folder that looks like a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.conftest import REPOSITORY
from tests.forking import RUN_TRAINING, TRAINING, ForkedProcess
from tests.servers import wait_until

_SERVER: Final = """
import sys
from tests import fork_server
exec(fork_server.main(sys.argv[1], sys.argv[2:]))
"""


def install_osteo_train(folder: Path, socket: Path | None = None) -> None:
    """Write `.venv/bin/osteo-train` into a folder.

    Args:
        folder: in which commands are typed.
        socket: of the process of `warm_osteo_train` that runs the command.
    """
    script = folder / ".venv" / "bin" / "osteo-train"
    script.parent.mkdir(parents=True, exist_ok=True)
    code = RUN_TRAINING
    if socket is not None:
        path = str(socket)
        code = f"from tests.forking import call\nsys.exit(call({path!r}, {code!r}, sys.argv))"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n{code}\n"
    )
    script.chmod(0o755)


@contextmanager
def warm_osteo_train(folder: Path, setting: str, *modules: str) -> Iterator[Path]:
    """A process that forks `osteo-train`; yields its socket.

    It is itself forked from the process that has imported TensorFlow, and imports the command once
    for a page that has a dozen of them.

    Args:
        folder: for its socket.
        setting: Python that runs before the command is imported, to make its work small.
        modules: imported in addition.
    """
    socket = folder / "socket"
    arguments = [str(socket), "training.cli", *modules]
    code = f"{setting}\n{_SERVER}"
    with ForkedProcess(
        arguments, modules=TRAINING, code=code, cwd=REPOSITORY, stdin=subprocess.PIPE
    ) as process:  # which ends when its standard input is closed
        wait_until(lambda: socket.exists() or process.poll() is not None)
        yield socket


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
