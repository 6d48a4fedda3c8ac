"""Commands in processes of their own that need not import TensorFlow, which takes seconds.

They are forked from a process that has imported it; `tests/fork_server.py` tells how. Signals, exit
codes and environment are those of any other process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.conftest import REPOSITORY
from tests.forking import TRAINING, ForkedProcess

COMMAND: Final = "from training.cli import app; app()"


class ForkedCommand:
    """A running command; its interface is the part of `subprocess.Popen` that tests need."""

    def __init__(
        self, arguments: list[str], log_file: Path, code: str, environ: Mapping[str, str]
    ) -> None:
        """Start it.

        Args:
            arguments: of `osteo-train`.
            log_file: takes standard output and standard error.
            code: Python, run as the main module.
            environ: the whole environment.
        """
        self._log_file = log_file
        with log_file.open("wb") as log:
            self._process = ForkedProcess(
                arguments,
                modules=TRAINING,
                code=code,
                program="osteo-train",
                cwd=REPOSITORY,
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while the command runs."""
        return self._process.poll()

    def poll(self) -> int | None:
        return self._process.poll()

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self) -> str:
        """Wait for the end and return what was printed."""
        self._process.wait()
        return self._log_file.read_text()


@contextlib.contextmanager
def forked(
    *arguments: object, log_file: Path, code: str = COMMAND, environ: Mapping[str, str] = os.environ
) -> Iterator[ForkedCommand]:
    """Run a command that ends with the block."""
    command = ForkedCommand(list(map(str, arguments)), log_file, code, environ)
    try:
        yield command
    finally:
        command.kill()
        command.communicate()
