"""Native libraries write to file descriptor 2; commands show that only with `--verbose`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.forking import TRAINING, ForkedProcess

PROGRAM = """
import os, sys, typer
from training.commands.options import guarded
from training.console.progress import ERRORS
from training.errors import RunError
app = typer.Typer()

@app.command()
@guarded
def work(ending: str) -> None:
    os.write(2, b"native chatter\\n")
    print("from Python", file=sys.stderr)
    ERRORS.print("from Rich")
    if ending == "expected":
        raise RunError("Wrong input.")
    if ending == "unexpected":
        raise ZeroDivisionError("a defect")
    if ending == "crash":
        import ctypes
        ctypes.string_at(0)

app()
print("after")
"""


def work(*arguments: str) -> tuple[int, str]:
    with ForkedProcess(
        list(arguments),
        modules=TRAINING,
        code=PROGRAM,
        program="work",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        _, said = process.communicate()
    return process.returncode, said


def test_native_output_is_hidden_and_python_s_is_not() -> None:
    assert work("well") == (0, "from Python\nfrom Rich\n")


def test_native_output_is_shown_with_verbose() -> None:
    assert work("well", "--verbose")[1] == "native chatter\nfrom Python\nfrom Rich\n"


def test_expected_errors_show_no_native_output() -> None:
    assert work("expected") == (1, "from Python\nfrom Rich\nerror: Wrong input.\n")


def test_unexpected_errors_show_native_output_and_the_traceback() -> None:
    code, said = work("unexpected")
    assert code == 1
    assert "native chatter\n" in said
    assert "ZeroDivisionError: a defect" in said


@pytest.mark.skipif(sys.platform == "win32", reason="crashes differently")
def test_a_crash_in_native_code_shows_where() -> None:
    code, said = work("crash")
    assert code < 0
    assert "Fatal Python error" in said
    assert "in work" in said
