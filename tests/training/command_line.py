"""Run the commands of `osteo-train` in a test: in this process or in a child process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from typer.testing import CliRunner, Result

from tests.conftest import REPOSITORY
from training.cli import app

_RESTORE_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
"""A background shell and `nohup` ignore SIGINT, and their children inherit that."""
_LONGEST_WAIT_S = 300.0
"""A busy machine may be slow; a test that hangs ends."""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@contextlib.contextmanager
def started(
    *arguments: object,
    code: str = "from training.cli import app; app()",
) -> Iterator[subprocess.Popen[str]]:
    """Run `code` in a process of its own, which SIGINT can stop and which ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-c", _RESTORE_SIGINT + code, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


class Running(Protocol):
    """A process that can be asked whether it has ended, and what it printed."""

    def poll(self) -> int | None: ...
    def communicate(self) -> object: ...


def wait_for(condition: Callable[[], bool], process: Running) -> None:
    """Wait until a condition holds, as long as the process runs."""
    end = time.monotonic() + _LONGEST_WAIT_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
