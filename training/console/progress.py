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
"""Takes the amount of work done since the last call, and a text on the current state."""


def tracked(description: str) -> Callable[[Sequence[Item]], Iterable[Item]]:
    """Wrap a sequence so that a terminal shows the progress of the loop over it."""

    def wrap(items: Sequence[Item]) -> Iterable[Item]:
        hidden = not ERRORS.is_terminal
        return track(items, description, console=ERRORS, transient=True, disable=hidden)

    return wrap


@contextmanager
def counted(description: str, total: float) -> Iterator[Advance]:
    """Show the progress of work whose pieces differ in size, with the remaining time.

    Without a terminal, such as in a log, a line each minute replaces the progress bar.

    Args:
        description: names the work.
        total: amount of work, in any unit.
    """
    started = printed = time.monotonic()
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
        # The pieces differ, so the speed is averaged over a long time.
        speed_estimate_period=600.0,
    )
    with bar:
        task = bar.add_task(description, total=total, where="")

        def advance(amount: float, where: str) -> None:
            nonlocal done, printed
            done += amount
            bar.update(task, advance=amount, where=where)
            now = time.monotonic()
            if not ERRORS.is_terminal and now - printed >= _LINE_EVERY_S:
                printed = now
                left_s = (now - started) * (total - done) / max(done, 1e-9)
                ERRORS.print(f"{description}: {where}, about {left_s / 60:.0f} min left")

        yield advance
