"""Equal refusals become one record with their number, so that a flood does not flood the audit."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Final

from app.audit.records import AuditRecord, format_time

WINDOW_S: Final = 1.0
"""Equal refusals within this time are summed."""

MAX_KINDS: Final = 1024
"""Different refusals that are kept apart; beyond that, caller and route do not count."""

_Key = tuple[str | None, str | None, str | None, str | None, int | None, str | None]


@dataclass(slots=True)
class _Sum:
    first: AuditRecord
    last: AuditRecord
    count: int
    since: float


class SummedRefusals:
    """Refusals that wait to be recorded; equal ones are summed.

    Those are equal that have the same caller, route, status, reason and `details.credentials`. A
    sum has the time of its first refusal; `details.until` is that of the last. What differs between
    them (request, tile) is left out.
    """

    def __init__(self) -> None:
        self._sums: dict[_Key, _Sum] = {}
        self._lock = threading.Lock()

    def add(self, record: AuditRecord) -> None:
        """Add a refusal; a record that already has a count adds that many."""
        credentials = (record.details or {}).get("credentials")
        key: _Key = (
            record.caller,
            record.caller_kind,
            record.route,
            record.reason,
            record.status,
            credentials,
        )
        count = record.count or 1
        with self._lock:
            found = self._sums.get(key)
            if found is None and len(self._sums) >= MAX_KINDS:
                # Callers may choose their names (a token's subject); the rest is ours.
                key = (None, None, None, record.reason, record.status, credentials)
                record = replace(record, caller=None, caller_kind=None, route=None)
                found = self._sums.get(key)
            if found is None:
                self._sums[key] = _Sum(record, record, count, time.monotonic())
            else:
                found.last = record
                found.count += count

    def take(self, *, is_closing: bool = False) -> list[AuditRecord]:
        """The records of the sums whose time is over; of all if the writer closes."""
        now = time.monotonic()
        with self._lock:
            over = [
                key
                for key, kept in self._sums.items()
                if is_closing or now - kept.since >= WINDOW_S
            ]
            return [_record_of(self._sums.pop(key)) for key in over]


def _record_of(kept: _Sum) -> AuditRecord:
    if kept.count == 1:
        return kept.first
    details = {**(kept.first.details or {}), "until": format_time(kept.last.at)}
    return replace(
        kept.first,
        count=kept.count,
        details=details,
        request_id=None,
        tile_sha256=None,
        index=None,
    )
