"""Progress bars on standard error, so that standard output stays clean for results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")

ERRORS = Console(stderr=True)


def tracked(description: str) -> Callable[[Sequence[Item]], Iterable[Item]]:
    """A wrapper for a sequence that shows, on a terminal, how far the loop over it has come."""

    def wrap(items: Sequence[Item]) -> Iterable[Item]:
        hidden = not ERRORS.is_terminal
        return track(items, description, console=ERRORS, transient=True, disable=hidden)

    return wrap
