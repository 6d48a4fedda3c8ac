"""Run `osteo` in a process of its own: real streams, signals, permissions and encodings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import RELEASED_MODELS, REPOSITORY
from tests.forking import RUN_APP, ForkedProcess

LONGEST_WAIT_S = 300.0
"""A busy machine may be slow; a test that hangs ends."""
CLOSED = {
    "stdout": "import os, sys; os.close(1); sys.stdout = None",
    "stderr": "import os, sys; os.close(2); sys.stderr = None",
}
"""What Python finds if a stream is closed when it starts; `before` of `run_limited`."""
_COMMAND = [sys.executable, "-m", "app"]


def command(*arguments: object) -> list[str]:
    return [*_COMMAND, *map(str, arguments)]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment; the released bundles, unless a fixture has set others."""
    settings = {"OSTEO_MODELS_DIR": str(RELEASED_MODELS), "OSTEO_RUNTIME": "litert"}
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return {**settings, **kept, "PYTHONPATH": str(REPOSITORY), **changes}


def run(
    arguments: list[str], cwd: Path, stdout: int | Any = subprocess.PIPE, **changes: str
) -> subprocess.CompletedProcess[bytes]:
    """Run to the end: forked, unless it is a shell or a variable changes how Python starts.

    Args:
        arguments: of `command`, or of a shell that starts it.
        cwd: working directory.
        stdout: as `subprocess.Popen` takes it.
        changes: variables of the environment.
    """
    is_own = arguments[: len(_COMMAND)] == _COMMAND
    read_by_python = changes.keys() - {"PYTHONIOENCODING"}  # which a forked program obeys
    if is_own and not any(name.startswith(("PYTHON", "LC_")) for name in read_by_python):
        return run_limited(arguments, cwd, stdout=stdout, env=environment(**changes))
    options: dict[str, Any] = {"cwd": cwd, "env": environment(**changes), "stdout": stdout}
    return _finished(subprocess.Popen(arguments, stderr=subprocess.PIPE, **options))


def run_limited(
    arguments: list[str], cwd: Path, **limits: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run what `command` returned with limits, as `ForkedProcess` takes them, to the end."""
    options = {"cwd": cwd, "env": environment(), "stdout": subprocess.PIPE, **limits}
    return _finished(_forked(arguments, stderr=subprocess.PIPE, **options))


def _forked(arguments: list[str], *, before: str = "", **options: Any) -> ForkedProcess:
    """As `ForkedProcess`; `before` is Python that runs first in the process."""
    return ForkedProcess(arguments[len(_COMMAND) :], code=f"{before}\n{RUN_APP}", **options)


def _finished(process: subprocess.Popen[bytes]) -> subprocess.CompletedProcess[bytes]:
    with process:
        try:
            output, errors = process.communicate(timeout=LONGEST_WAIT_S)
        finally:
            process.kill()
    assert b"Traceback" not in errors, errors.decode()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def restore_sigint() -> None:
    """For `preexec_fn`: a background shell ignores SIGINT, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def started(
    arguments: list[str], cwd: Path, *, is_forked: bool = True, **streams: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A running process that SIGINT can stop and that ends with the block.

    Args:
        arguments: of `command`.
        cwd: working directory.
        is_forked: whether it is forked, or starts Python.
        streams: `stdout` and `stderr` if they are not pipes.
    """
    options: dict[str, Any] = {
        **{"cwd": cwd, "env": environment()},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
        "bufsize": 0,  # else `communicate` would lose what `read` has read ahead
    }
    with (
        _forked(arguments, **options)
        if is_forked
        else subprocess.Popen(arguments, preexec_fn=restore_sigint, **options)  # noqa: PLW1509 - the child only starts Python
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def sentences(stderr: bytes) -> list[str]:
    """What `osteo` says on standard error, without what TensorFlow's libraries write there."""
    lines = stderr.decode().splitlines()
    return [line.removeprefix("osteo: ") for line in lines if line.startswith("osteo: ")]
