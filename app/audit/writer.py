"""Writes the audit of a service: one thread, commits of many records, no event loop that waits."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from app.audit.chain import Head, is_writable
from app.audit.failure import Failure
from app.audit.recording import Recording
from app.audit.records import AuditRecord
from app.audit.refusals import SummedRefusals
from app.audit.store_errors import ChainTakenError, StoreError
from app.audit.waiting import Entry, WaitingRecords, resolve
from app.core.access_errors import AuditUnavailableError
from app.core.errors import SettingsError
from app.telemetry.logs import LOGGER_NAME

MAX_BATCH_RECORDS: Final = 256
COMMIT_TIMEOUT_S: Final = 3.0
"""How long an answer waits for its record; then the client gets an error."""
GATHER_S: Final = 0.05
"""How long records wait for others if no answer waits for them: fewer commits cost less."""
_IDLE_S: Final = 1.0
_RETRY_S: Final = (0.0, 0.2, 0.5, 1.0)
"""Seconds before each further attempt. The second follows at once: databases close idle
connections."""

_logger = logging.getLogger(LOGGER_NAME)


def _ignore(_is_failing: bool) -> None:
    """Nobody wants to know."""


class AuditWriter:
    """Takes records from the event loop and appends them to this replica's chain."""

    def __init__(
        self,
        url: str,
        chain: str,
        mode: Literal["on", "required"],
        queue_records: int = 10_000,
        head_every: int = 1000,
        on_change: Callable[[bool], None] = _ignore,
    ) -> None:
        """Prepare a writer; `start` opens the database.

        Args:
            url: SQLAlchemy URL of the database.
            chain: name of this replica's chain.
            mode: with `required`, the database must be there at the start, and commits are not
                delayed to gather records.
            queue_records: records that may wait.
            head_every: records after which the head of the chain is logged again.
            on_change: called with the new value when `is_failing` changes, from the writer's thread
                or from `start`.
        """
        self._url, self._chain, self._mode = url, chain, mode
        self._head_every = head_every
        self._failure = Failure(on_change)
        self._waiting = WaitingRecords(queue_records)
        self._refusals = SummedRefusals()
        self._recording: Recording | None = None
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._taken: list[Entry] = []
        self._is_over = False
        self._give_up_at = float("inf")

    def start(self, details: Mapping[str, Any]) -> None:
        """Open the database, write the start record and start the thread.

        With the mode `on`, a database that cannot be written is tried again in the background.

        Args:
            details: of the start record, such as the version of the program; plain JSON.

        Raises:
            SettingsError: the URL or a package is wrong, or the mode is `required` and the
                database cannot be written.
        """
        recording = Recording(self._url, self._chain, details, self._head_every)
        try:
            recording.open()
        except ChainTakenError as error:
            recording.close()
            raise SettingsError(str(error)) from error
        except StoreError as error:
            if self._mode == "required":
                recording.close()
                raise SettingsError(
                    f"The audit {recording.name} cannot be written: {error}. "
                    "OSTEO_AUDIT=required answers only what it has recorded; OSTEO_AUDIT_URL says "
                    "where."
                ) from error
            self._failure.begin(str(error))
        self._recording = recording
        self._thread.start()

    @property
    def n_written(self) -> int:
        """Records committed since the start, those of start and stop included."""
        return self._recording.n_written if self._recording else 0

    @property
    def n_dropped(self) -> int:
        """Records lost: the queue was full, the writer closed, or they were not plain JSON."""
        return self._failure.n_dropped

    @property
    def n_waiting(self) -> int:
        """Records that wait to be written."""
        return self._waiting.n_records

    @property
    def head(self) -> Head | None:
        """The last committed record of the chain; None if the database was never opened."""
        return self._recording.head if self._recording else None

    @property
    def logged_head(self) -> Head | None:
        """The head that was logged last, every `head_every` records."""
        return self._recording.logged_head if self._recording else None

    @property
    def failing_since(self) -> float | None:
        """Since when records cannot be written, in seconds of `time.time`; None if they can."""
        return self._failure.since

    @property
    def is_failing(self) -> bool:
        """Whether records cannot be written now."""
        return self.failing_since is not None

    def submit(self, record: AuditRecord) -> None:
        """Record something soon; it is dropped and counted if the queue is full. Never waits."""
        if not self._waiting.put(Entry((record,))):
            self._failure.drop(1)

    def submit_refusal(self, record: AuditRecord) -> None:
        """Record a refusal soon, summed with equal ones of the same second. Never waits."""
        if self._waiting.is_closed:
            self._failure.drop(1)
        else:
            self._refusals.add(record)

    async def commit(self, records: Sequence[AuditRecord], *, is_done: bool = False) -> None:
        """Record together, and wait until the database has committed.

        If this raises, the records are not written later, except if the database was committing
        them at that moment.

        Args:
            records: what to record.
            is_done: what they tell of has happened, whatever becomes of the answer; so they are
                written later even if this raises.

        Raises:
            AuditUnavailableError: they could not be written within `COMMIT_TIMEOUT_S`, or the
                queue is full.
        """
        if not records:
            return
        future = asyncio.get_running_loop().create_future()
        entry = Entry(tuple(records), future)
        if not self._waiting.put(entry):
            raise AuditUnavailableError
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                is_written = await future
        except TimeoutError:
            raise AuditUnavailableError from None
        finally:
            entry.is_withdrawn = future.cancelled() and not is_done
        if not is_written:
            raise AuditUnavailableError

    def close(self, timeout_s: float) -> None:
        """Write what waits and a stop record, and end the thread.

        Args:
            timeout_s: seconds after which the rest is given up, with a line in the log.
        """
        self._give_up_at = time.monotonic() + timeout_s
        self._waiting.close()
        if self._recording is not None:
            self._thread.join(timeout_s + _IDLE_S)
        if self._thread.is_alive():  # the database does not answer
            self._give_up([*self._taken, *self._waiting.take_all()])

    def _run(self) -> None:
        recording = self._recording
        if recording is None:
            return
        try:
            self._write_all(recording)
        except (ChainTakenError, SettingsError) as error:
            self._failure.begin(str(error))
        finally:  # also after an error that nobody foresaw, which the log then shows
            self._waiting.close()
            if not self._is_over:
                self._failure.begin("the writer has ended")
            self._give_up([*self._taken, *self._waiting.take_all()])
            recording.close()

    def _give_up(self, entries: list[Entry]) -> None:
        """Tell those who wait, and count what nobody waits for."""
        resolve(entries, is_written=False)
        n_lost = sum(len(entry.records) for entry in entries if entry.future is None)
        if n_lost:
            self._failure.drop(n_lost)
            _logger.error("audit_records_lost", extra={"n_records": n_lost})

    def _write_all(self, recording: Recording) -> None:
        n_failures = 1 if self.is_failing else 0
        while True:
            if n_failures:
                self._waiting.pause(_RETRY_S[min(n_failures, len(_RETRY_S)) - 1])
            is_closing = self._waiting.is_closed
            try:
                is_empty = self._write_next(recording, is_closing or n_failures > 0)
                if is_closing and is_empty:
                    recording.stop({"written": self.n_written, "dropped": self.n_dropped})
                    self._is_over = True
                    return
                n_failures = 0
                self._failure.end()
            except StoreError as error:
                n_failures += 1
                if n_failures > 1:
                    self._failure.begin(str(error))
                if is_closing and time.monotonic() > self._give_up_at:
                    return

    def _write_next(self, recording: Recording, is_urgent: bool) -> bool:
        """Write a batch; True if nothing was there to be written."""
        with self._failure.watched():
            recording.open()
            if recording.is_unsettled:
                self._settle(recording)
        is_closing = self._waiting.is_closed
        if is_closing or self._waiting.has_room:  # else they stay summed, and so bounded
            refusals = self._refusals.take(is_closing=is_closing)
            self._waiting.put_back(Entry((record,)) for record in refusals)
        gather_s = 0.0 if is_urgent or self._mode == "required" else GATHER_S
        self._taken = self._waiting.take(MAX_BATCH_RECORDS, 0.0 if is_urgent else _IDLE_S, gather_s)
        with self._failure.watched():
            return self._append(recording)

    def _settle(self, recording: Recording) -> None:
        """Find out what became of the batch of an attempt that failed."""
        if recording.settle():
            self._end_batch()
        else:
            self._waiting.put_back(self._taken)
            self._taken = []

    def _append(self, recording: Recording) -> bool:
        records = self._batch()
        if not records:
            recording.require_same_files()  # else only the next answer would notice
            return True
        try:
            recording.append(records)
        except (TypeError, ValueError):  # a record that is not plain JSON must not stop the others
            self._leave_out_invalid()
            recording.append(self._batch())
        self._end_batch()
        return False

    def _batch(self) -> list[AuditRecord]:
        taken = (record for entry in self._taken for record in entry.records)
        return [*self._failure.interruption(), *taken]

    def _end_batch(self) -> None:
        self._failure.confirm()
        resolve(self._taken, is_written=True)
        self._taken = []

    def _leave_out_invalid(self) -> None:
        invalid = [entry for entry in self._taken if not all(map(is_writable, entry.records))]
        self._taken = [entry for entry in self._taken if entry not in invalid]
        for entry in invalid:
            self._failure.drop(len(entry.records))
            _logger.error("audit_record_invalid", extra={"kind": entry.records[0].event})
        resolve(invalid, is_written=False)
