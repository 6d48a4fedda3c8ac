"""Run the programs that a release needs: git, make, pip-audit, podman or docker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.release.errors import ReleaseError

_SHOWN_CHARACTERS = 2000


def find(program: str) -> str:
    """Path of a program; those of the running Python environment come first.

    Raises:
        ReleaseError: it is not installed.
    """
    beside = Path(sys.executable).parent / program
    found = str(beside) if beside.exists() else shutil.which(program)
    if not found:
        raise ReleaseError(f"{program} is not installed, or not in the PATH")
    return found


def run(
    program: str,
    *arguments: object,
    cwd: Path | None = None,
    given: bytes | None = None,
    environ: Mapping[str, str] | None = None,
    accepted: Sequence[int] = (0,),
    with_errors: bool = False,
) -> str:
    """Run a program until it ends.

    Args:
        program: name or path.
        arguments: of the program.
        cwd: folder that it runs in; this process's own if None.
        given: its standard input; empty if None.
        environ: variables beside those of this process.
        accepted: exit codes that are not failures.
        with_errors: whether to return what it wrote to standard error, too.

    Returns:
        What it wrote to standard output, and then to standard error if asked for.

    Raises:
        ReleaseError: it is not installed, or failed; the message ends with what it wrote.
    """
    done = subprocess.run(  # noqa: S603 # no shell; the programs are named in this package
        [find(program), *map(str, arguments)],
        cwd=cwd,
        input=given or b"",
        env={**os.environ, **(environ or {})},
        capture_output=True,
        check=False,
    )
    output, errors = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    if done.returncode not in accepted:
        said = (output + errors).strip()[-_SHOWN_CHARACTERS:]
        typed = " ".join((program, *map(str, arguments[:3])))
        raise ReleaseError(f"`{typed}` failed with exit code {done.returncode}:\n{said}")
    return output + errors if with_errors else output
