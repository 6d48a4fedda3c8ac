"""Commands in processes of their own that need not import TensorFlow, which takes seconds.

They are forked from a server process that has imported it. The server never starts TensorFlow's
runtime, which would not survive a fork; each command starts its own. Signals, exit codes and
environment are those of any other process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, Final

from tests.conftest import REPOSITORY

COMMAND: Final = "from training.cli import app; app()"

_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["tensorflow", "keras", "sklearn.model_selection", "training.cli", "training.gan.jobs"]
)


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
        with contextlib.chdir(REPOSITORY):  # the server imports from its working directory
            forkserver.ensure_running()
        self._process = _FORKS.Process(
            target=_run, args=(code, arguments, str(log_file), dict(environ)), daemon=True
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while the command runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self) -> str:
        """Wait for the end and return what was printed."""
        self._process.join()
        return self._log_file.read_text()


def _run(code: str, arguments: list[str], log_file: str, environ: dict[str, str]) -> None:
    """The forked process."""
    # A background shell and `nohup` ignore SIGINT, and their children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(REPOSITORY)
    with Path(log_file).open("wb", buffering=0) as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    sys.argv = ["osteo-train", *arguments]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(code, namespace)  # noqa: S102 - the tests' own code


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
