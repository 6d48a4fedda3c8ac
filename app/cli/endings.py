"""How a command ends: exit codes, one sentence on standard error, and output that fails.

0: everything was done. 1: some of it was not, or the output could not be written. 2: nothing could
be tried. 130: Ctrl-C. 141: the reader of the output closed it, as `head` does; nothing is printed.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from app.cli.names import one_line
from app.core.errors import OsteoError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it
_EXIT_CLOSED_PIPE: Final = 141  # 128 + SIGPIPE

STDERR: Final = Console(stderr=True, highlight=False, emoji=False)


def say(sentence: str) -> None:
    """Print one sentence on standard error."""
    STDERR.print(Text(f"osteo: {one_line(sentence)}"), soft_wrap=True)


def fail(sentence: str, exit_code: int) -> NoReturn:
    """Print one sentence on standard error and exit."""
    say(sentence)
    raise typer.Exit(exit_code)


@contextmanager
def plain_errors(exit_code: int = EXIT_USAGE) -> Iterator[None]:
    """Print a deliberate error, or Ctrl-C, as one sentence, without a traceback, and exit."""
    try:
        yield
    except OsteoError as error:
        fail(str(error), exit_code)
    except KeyboardInterrupt:
        fail("Interrupted.", EXIT_INTERRUPTED)


class OutputError(Exception):
    """Standard output cannot be written; `error` is the system's."""

    def __init__(self, error: OSError) -> None:
        self.error = error
        super().__init__(error)


class Program(typer.Typer):
    """A program whose standard streams survive any encoding, a closed pipe and a full disk."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that `sys.argv` or the arguments name."""
        sys.stdout, sys.stderr = _safe_stdout(), _safe_stderr()
        try:
            try:
                return super().__call__(*args, **kwargs)
            finally:
                sys.stdout.flush()
        except OutputError as failure:
            _discard_output()
            if failure.error.errno == errno.EPIPE:
                sys.exit(_EXIT_CLOSED_PIPE)
            reason = failure.error.strerror or type(failure.error).__name__
            say(f"The output cannot be written: {reason}.")
            sys.exit(EXIT_FAILED)


class _SafeStdout(io.TextIOWrapper):
    """Tells failures of standard output from those of other files."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise OutputError(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise OutputError(error) from error


def _safe_stdout() -> Any:
    """Standard output; what its encoding lacks is escaped instead of raising an error."""
    stdout: Any = sys.stdout
    if stdout is None:  # it was closed before the start, such as by `>&-`
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - a device, for good
    if not isinstance(stdout, io.TextIOWrapper) or isinstance(stdout, _SafeStdout):
        return stdout
    encoding, by_line = stdout.encoding, stdout.line_buffering
    return _SafeStdout(stdout.detach(), encoding, "backslashreplace", line_buffering=by_line)


class _LenientStderr(io.TextIOWrapper):
    """Loses what cannot be written: there is no other place to say so, and the output counts."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def _safe_stderr() -> Any:
    """Standard error that never ends a command, also if it is closed or on a full disk."""
    stderr: Any = sys.stderr
    if stderr is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - a device, for good
    if not isinstance(stderr, io.TextIOWrapper) or isinstance(stderr, _LenientStderr):
        return stderr
    encoding = stderr.encoding  # gone once it is detached
    return _LenientStderr(stderr.detach(), encoding, "backslashreplace", line_buffering=True)


def _discard_output() -> None:
    """Throw away what is buffered, or Python would try to write it again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
