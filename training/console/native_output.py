"""Hide what the C++ code of TensorFlow and LiteRT prints, which no log level silences completely.

It writes to file descriptor 2 directly: that it found no GPU, which instructions it uses, that it
created a delegate. While it is hidden, `sys.stderr` writes to the terminal as before.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

_STDERR: Final = 2


@contextmanager
def native_output_hidden() -> Iterator[Callable[[], None]]:
    """Keep native output in a file during the block.

    If the process crashes in native code, the tracebacks of its threads are printed.

    Yields:
        A function that shows what was hidden, for an unexpected error.
    """
    # TensorFlow reports its build at import, and every fold's new graph, on standard error.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    python_stderr = sys.stderr
    with tempfile.TemporaryFile() as hidden, os.fdopen(os.dup(_STDERR), "wb", 0) as terminal:
        python_stderr.flush()
        shown = _text_stream(terminal, python_stderr)
        was_enabled = faulthandler.is_enabled()
        os.dup2(hidden.fileno(), _STDERR)
        try:
            if shown is not None:
                sys.stderr = shown
            if not was_enabled:
                faulthandler.enable(terminal)
            yield lambda: _copy(hidden.fileno(), terminal)
        finally:
            if not was_enabled:
                faulthandler.disable()
            sys.stderr.flush()
            sys.stderr = python_stderr
            os.dup2(terminal.fileno(), _STDERR)


def _copy(hidden: int, terminal: io.FileIO) -> None:
    n_bytes = os.fstat(hidden).st_size
    terminal.write(os.pread(hidden, n_bytes, 0))


def _text_stream(terminal: io.FileIO, python_stderr: TextIO) -> TextIO | None:
    """A text stream to the terminal; None if `sys.stderr` does not write to descriptor 2."""
    try:
        if python_stderr.fileno() != _STDERR:
            return None
    except (OSError, ValueError, AttributeError):
        return None
    return io.TextIOWrapper(
        os.fdopen(os.dup(terminal.fileno()), "wb", 0),
        encoding=python_stderr.encoding,
        errors="backslashreplace",
        write_through=True,
    )
