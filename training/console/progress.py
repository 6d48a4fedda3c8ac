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
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")

ERRORS = Console(stderr=True)
_LINE_EVERY_S: Final = 60.0

Advance = Callable[[float, str], None]
"""Takes the amount of work done since the last call, and a text on the current state."""
Begin = Callable[[str], None]
"""Takes the name of a step that begins; the step before it is done."""


def tracked(description: str) -> Callable[[Sequence[Item]], Iterable[Item]]:
    """Wrap a sequence so that the progress of the loop over it is shown."""

    def wrap(items: Sequence[Item]) -> Iterable[Item]:
        with counted(description, len(items)) as advance:
            for item in items:
                yield item
                advance(1, "")

    return wrap


@contextmanager
def stepped(description: str, n_steps: int) -> Iterator[Begin]:
    """Show which of several named steps is running, for steps that cannot be divided."""
    with counted(description, n_steps) as advance:
        n_begun = 0

        def begin(step: str) -> None:
            nonlocal n_begun
            advance(min(n_begun, 1), step)
            n_begun += 1

        yield begin
        advance(n_steps - n_begun + 1, "")


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
        BarColumn(bar_width=12),
        TaskProgressColumn(),
        TextColumn("{task.fields[where]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
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
                about = f"about {left_s / 60:.0f} min left" if done > 0 else "just begun"
                ERRORS.print(f"{description}: {', '.join(filter(None, (where, about)))}")

        yield advance
