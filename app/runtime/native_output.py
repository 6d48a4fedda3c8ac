"""Drop what native code prints on standard error while it loads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_STDERR: Final = 2


@contextmanager
def native_output_dropped() -> Iterator[None]:
    """Send file descriptor 2 to nowhere during the block.

    LiteRT announces its first delegate there, which is no line of the JSON log, and its log level
    cannot be set from Python. The log has a descriptor of its own.
    """
    try:
        kept = os.dup(_STDERR)
    except OSError:  # standard error is closed
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
