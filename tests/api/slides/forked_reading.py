"""Processes that read slides without the second of imports: a fork server starts them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tests.forking import ForkedProcess


def _forked(command: list[str], **options: Any) -> ForkedProcess:
    """What `ReaderProcess` starts."""
    module = command[-1]
    code = f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    return ForkedProcess([], code=code, program=module, **options)


@contextmanager
def forked_reading_processes() -> Iterator[None]:
    """Let services in this process fork them; each slide that is added is read by a new one."""
    forking = SimpleNamespace(**{**vars(subprocess), "Popen": _forked})
    with mock.patch("app.slides.viewing.reader_process.subprocess", forking):
        yield
