"""Whether the service is ready, and why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LOADING: Final = "the model is being loaded"
DRAINING: Final = "the service is shutting down"
STOPPED: Final = "the service was not started"
MAX_CONSECUTIVE_FAILURES: Final = 5
"""After this many tiles in a row without a usable answer the service is not ready."""


class Readiness:
    """The answer to the readiness probe; used from the event loop only."""

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        """Start not ready.

        Args:
            on_change: called with whether the service is ready, each time it is set.
        """
        self._on_change = on_change
        self._reason: str | None = STOPPED
        self._stuck_reason: str | None = None
        self._is_draining = False
        self._n_failures = 0

    @property
    def reason(self) -> str | None:
        """Why the service is not ready; None if it is."""
        return self._reason or self._stuck_reason

    @property
    def is_draining(self) -> bool:
        """Whether the service is shutting down."""
        return self._is_draining

    @property
    def is_failing(self) -> bool:
        """Whether the latest tile got no usable answer."""
        return self._n_failures > 0

    def begin_loading(self) -> None:
        """Start over: the service is not ready until its model is loaded."""
        self._is_draining = False
        self.set_unready(LOADING)

    def begin_drain(self) -> None:
        """Turn readiness off until the next start."""
        self.set_unready(DRAINING)
        self._is_draining = True

    def set_ready(self) -> None:
        """Turn readiness on, unless the service is draining."""
        self._n_failures = 0
        self._set(None)

    def set_unready(self, reason: str) -> None:
        """Turn readiness off for a reason; while draining, the reason stays."""
        self._set(reason)

    def count_success(self) -> None:
        """Turn readiness on again after failures: a tile got a usable answer."""
        if self._n_failures:
            self.set_ready()

    def count_failure(self) -> bool:
        """Count a tile without a usable answer; returns whether this turned readiness off."""
        self._n_failures += 1
        if self._n_failures != MAX_CONSECUTIVE_FAILURES:
            return False
        self.set_unready(f"the model failed {MAX_CONSECUTIVE_FAILURES} times in a row")
        return True

    def set_stuck(self, n_threads: int) -> bool:
        """Turn readiness off while worker threads are stuck; returns whether the number is new."""
        threads = "1 worker thread is" if n_threads == 1 else f"{n_threads} worker threads are"
        reason = f"{threads} stuck on a tile" if n_threads else None
        if reason == self._stuck_reason:
            return False
        self._stuck_reason = reason
        self._on_change(self.reason is None)
        return True

    def _set(self, reason: str | None) -> None:
        if not self._is_draining:
            self._reason = reason
            self._on_change(self.reason is None)
