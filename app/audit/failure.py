"""What the writer knows about its trouble: since when it fails, what was lost, what was noted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from app.audit.records import AuditRecord, format_time
from app.telemetry.logs import LOGGER_NAME

_STUCK_S: Final = 5.0
"""A database that takes longer for one batch counts as failing."""
_DROPS_LOGGED_EVERY_S: Final = 60.0

_logger = logging.getLogger(LOGGER_NAME)


class Failure:
    """Failing or not, and the records lost so far.

    Attributes:
        n_dropped: records lost since the start.
    """

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        """Begin without trouble.

        Args:
            on_change: called with True when a failure begins, and with False when it ends.
        """
        self._on_change = on_change
        self._since: float | None = None
        self._busy_since: float | None = None
        self._is_noted = self._is_in_attempt = False
        self._lock = threading.Lock()
        self._drops_logged_at = float("-inf")
        self._n_noted = self._n_in_attempt = 0
        self.n_dropped = 0

    @property
    def since(self) -> float | None:
        """Since when the database fails or does not come back, in seconds of `time.time`."""
        busy = self._busy_since
        is_stuck = busy is not None and time.time() - busy > _STUCK_S
        return busy if self._since is None and is_stuck else self._since

    def begin(self, reason: str) -> None:
        """Say once that records cannot be written."""
        if self._since is None:
            self._since = time.time()
            _logger.error("audit_failing", extra={"reason": reason})
            self._on_change(True)

    def end(self) -> None:
        """Say that they can be written again, if they could not."""
        if self._since is not None:
            lasted_s = round(time.time() - self._since, 3)
            self._since, self._is_noted = None, False
            _logger.warning("audit_recovered", extra={"lasted_s": lasted_s})
            self._on_change(False)

    def drop(self, n_records: int) -> None:
        """Count lost records, and log the count at most once a minute."""
        now = time.monotonic()
        with self._lock:
            self.n_dropped += n_records
            is_due = now - self._drops_logged_at >= _DROPS_LOGGED_EVERY_S
            if is_due:
                self._drops_logged_at = now
        if is_due:
            _logger.error("audit_records_dropped", extra={"n_records": self.n_dropped})

    def interruption(self) -> list[AuditRecord]:
        """The record that says so in the chain itself, if there is something to say."""
        self._n_in_attempt = self.n_dropped
        n_lost = self._n_in_attempt - self._n_noted
        is_failing = self._since is not None and not self._is_noted
        # A batch from before the failure may be found to be there; it does not say so.
        self._is_in_attempt = is_failing
        if not (n_lost or is_failing):
            return []
        details: dict[str, Any] = {}
        if self._since is not None:
            details["since"] = format_time(datetime.fromtimestamp(self._since, UTC))
        return [AuditRecord(event="interruption", count=n_lost, details=details)]

    def confirm(self) -> None:
        """The record of the last `interruption` is committed."""
        self._n_noted = self._n_in_attempt
        self._is_noted = self._is_noted or self._is_in_attempt

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A block that uses the database, and that counts as failing if it does not come back."""
        self._busy_since = time.time()
        try:
            yield
        finally:
            self._busy_since = None
