"""Records that wait to be written, bounded; the event loop puts them in and a thread takes them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from app.audit.records import AuditRecord


@dataclass(slots=True, eq=False)
class Entry:
    """Records that are written together, and who waits for them.

    Attributes:
        records: in order.
        future: gets True once they are committed, False if they will not be; None if nobody waits.
        is_withdrawn: nobody waits any more, so that they must not be written.
    """

    records: tuple[AuditRecord, ...]
    future: asyncio.Future[bool] | None = None
    is_withdrawn: bool = False


class WaitingRecords:
    """A bounded queue that wakes its one reader.

    Attributes:
        n_records: number of records that wait.
        is_closed: nothing more is taken in.
    """

    def __init__(self, limit: int) -> None:
        """Make an empty queue.

        Args:
            limit: number of records that may wait.
        """
        self._limit = limit
        self._entries: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._wanted = 0
        self.n_records = 0
        self.is_closed = False

    @property
    def has_room(self) -> bool:
        """Whether one more record may wait."""
        return self.n_records < self._limit

    def put(self, entry: Entry) -> bool:
        """Add an entry; False if there is no room for it. Never waits."""
        with self._changed:
            if self.is_closed or self.n_records + len(entry.records) > self._limit:
                return False
            self._entries.append(entry)
            self.n_records += len(entry.records)
            if self._wanted and self.n_records >= self._wanted:
                self._changed.notify_all()
            return True

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Put entries back to the front; they were taken but not written."""
        with self._changed:
            for entry in reversed(list(entries)):
                self._entries.appendleft(entry)
                self.n_records += len(entry.records)

    def take(self, max_records: int, idle_s: float, gather_s: float) -> list[Entry]:
        """Take entries; those that were withdrawn are left out.

        Args:
            max_records: stop after this number; an entry is never divided.
            idle_s: seconds after which an empty list is returned.
            gather_s: seconds to wait for more, once there is one.
        """
        with self._changed:
            self._wait_for(1, idle_s)
            if self.n_records and gather_s:
                self._wait_for(max_records, gather_s)
            taken: list[Entry] = []
            n_taken = 0
            while self._entries and n_taken < max_records:
                entry = self._entries.popleft()
                self.n_records -= len(entry.records)
                if not entry.is_withdrawn:
                    taken.append(entry)
                    n_taken += len(entry.records)
            return taken

    def pause(self, seconds: float) -> None:
        """Wait before the next attempt, and forget what was withdrawn in the meantime."""
        with self._changed:
            self._wanted = 0
            if seconds:
                self._changed.wait(seconds)
            self._entries = deque(entry for entry in self._entries if not entry.is_withdrawn)
            self.n_records = sum(len(entry.records) for entry in self._entries)

    def take_all(self) -> list[Entry]:
        """Take what is left, at the end."""
        with self._changed:
            taken = list(self._entries)
            self._entries.clear()
            self.n_records = 0
            return taken

    def close(self) -> None:
        """Take nothing more in."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    def _wait_for(self, n_records: int, seconds: float) -> None:
        """Wait until that many records are there, the queue is closed or the time is over."""
        deadline = time.monotonic() + seconds
        self._wanted = n_records
        while self.n_records < n_records and not self.is_closed:
            left = deadline - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                break
        self._wanted = 0


def resolve(entries: Iterable[Entry], is_written: bool) -> None:
    """Tell those who wait, with one wake-up for each event loop."""
    futures = [entry.future for entry in entries if entry.future is not None]
    for loop, waiting in groupby(futures, key=asyncio.Future.get_loop):
        with suppress(RuntimeError):  # the loop is closed, so nobody waits
            loop.call_soon_threadsafe(_set_results, list(waiting), is_written)


def _set_results(futures: Iterable[asyncio.Future[bool]], is_written: bool) -> None:
    for future in futures:
        if not future.done():
            future.set_result(is_written)
