"""Progress bars on standard error, so that standard output stays clean for results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    track,
)

Item = TypeVar("Item")

ERRORS = Console(stderr=True)
_LINE_EVERY_S: Final = 60.0

Advance = Callable[[float, str], None]
"""Told how much more is done, and how to say where that is."""


def tracked(description: str) -> Callable[[Sequence[Item]], Iterable[Item]]:
    """A wrapper for a sequence that shows, on a terminal, how far the loop over it has come."""

    def wrap(items: Sequence[Item]) -> Iterable[Item]:
        hidden = not ERRORS.is_terminal
        return track(items, description, console=ERRORS, transient=True, disable=hidden)

    return wrap


@contextmanager
def counted(description: str, total: float) -> Iterator[Advance]:
    """A progress bar over work whose pieces differ in size, with the time that is left.

    Where nobody watches a terminal, a line a minute takes its place, so that a log tells it too.

    Args:
        description: what is done.
        total: of all pieces, in any unit.
    """
    started = said = time.monotonic()
    done = 0.0
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[where]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=ERRORS,
        transient=True,
        disable=not ERRORS.is_terminal,
        # The pieces differ, so the speed is taken over a long while.
        speed_estimate_period=600.0,
    )
    with bar:
        task = bar.add_task(description, total=total, where="")

        def advance(amount: float, where: str) -> None:
            nonlocal done, said
            done += amount
            bar.update(task, advance=amount, where=where)
            now = time.monotonic()
            if not ERRORS.is_terminal and now - said >= _LINE_EVERY_S:
                said = now
                left_s = (now - started) * (total - done) / max(done, 1e-9)
                ERRORS.print(f"{description}: {where}, about {left_s / 60:.0f} min left")

        yield advance
