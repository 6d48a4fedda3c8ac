"""A timer of the event loop that can be replaced and stopped."""

from __future__ import annotations

import math
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable


class Timer:
    """At most one pending call."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        """Start without a pending call."""
        self._loop = loop
        self._handle: TimerHandle | None = None

    def start(self, delay_s: float, callback: Callable[..., object], *args: object) -> None:
        """Replace the pending call; an infinite delay leaves none."""
        self.stop()
        if delay_s < math.inf:
            self._handle = self._loop.call_later(delay_s, callback, *args)

    def stop(self) -> None:
        """Cancel the pending call, if there is one."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
