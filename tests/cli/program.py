"""Run `osteo` in a process of its own: real streams, signals, permissions and encodings."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RELEASED_MODELS, REPOSITORY

LONGEST_WAIT_S = 300.0
"""A busy machine may be slow; a test that hangs ends."""
_DROPPED = "-dac_override,-dac_read_search"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "app", *map(str, arguments)]


def as_ordinary_user(*arguments: object) -> list[str]:
    """The command without root's right to read everything."""
    if os.geteuid() != 0:
        return command(*arguments)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root can read every folder, and setpriv is not installed")
    dropped = f"--bounding-set={_DROPPED}", f"--inh-caps={_DROPPED}"
    return [setpriv, *dropped, *command(*arguments)]


def environment(**changes: str) -> dict[str, str]:
    settings = {"OSTEO_MODELS_DIR": str(RELEASED_MODELS), "OSTEO_RUNTIME": "litert"}
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return {**kept, **settings, "PYTHONPATH": str(REPOSITORY), **changes}


def run(
    arguments: list[str], cwd: Path, stdout: int | Any = subprocess.PIPE, **changes: str
) -> subprocess.CompletedProcess[bytes]:
    """Run to the end; `changes` are variables of the environment."""
    done = subprocess.run(
        arguments,
        cwd=cwd,
        env=environment(**changes),
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=LONGEST_WAIT_S,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


@contextmanager
def started(arguments: list[str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running process that SIGINT can stop and that ends with the block."""
    with subprocess.Popen(
        arguments,
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # else `communicate` would lose what `read` has read ahead
        # A background shell ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - the child only starts Python
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def sentences(stderr: bytes) -> list[str]:
    """What `osteo` says on standard error, without what TensorFlow's libraries write there."""
    lines = stderr.decode().splitlines()
    return [line.removeprefix("osteo: ") for line in lines if line.startswith("osteo: ")]
