"""A progress bar on standard error, which leaves standard output alone."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import Progress

from app.cli.endings import STDERR

Item = TypeVar("Item")


@contextmanager
def tracked(
    items: Iterable[Item], total: int, description: str, is_silent: bool = False
) -> Iterator[Iterable[Item]]:
    """Wrap items, so that a terminal shows the progress of a loop over them."""
    # Rich would redirect standard output to the terminal with the bar, even if it is a file.
    with Progress(
        console=STDERR,
        transient=True,
        redirect_stdout=False,
        disable=is_silent or not STDERR.is_terminal,
    ) as progress:
        yield progress.track(items, total, description=description)


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()
