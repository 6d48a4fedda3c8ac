"""One run of a service in the audit: its start record, its records, its stop record."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.audit.chain import Head
from app.audit.chain_writer import ChainWriter
from app.audit.opening import make_store
from app.audit.records import AuditRecord
from app.telemetry.logs import LOGGER_NAME

MAX_HEADS: Final = 100
"""Heads of other chains in a start record: those written to most recently."""

_logger = logging.getLogger(LOGGER_NAME)


class Recording:
    """Appends to a chain between a start and a stop record. Knows no threads.

    Attributes:
        name: the database, without a password.
        n_written: records committed, those of start and stop included.
        logged_head: the head that the log has; None if it has none yet.
    """

    def __init__(self, url: str, chain: str, details: Mapping[str, Any], head_every: int) -> None:
        """Prepare a recording; see `AuditWriter`. Raises SettingsError."""
        self._store = make_store(url)
        self.name = self._store.name
        self._chain_name, self._details, self._head_every = chain, details, head_every
        self._chain: ChainWriter | None = None
        self._is_open = False
        self._n_since_head = 0
        self.n_written = 0
        self.logged_head: Head | None = None

    @property
    def head(self) -> Head | None:
        """The last committed record; None if the database was never opened."""
        return self._chain.head if self._chain else None

    @property
    def is_unsettled(self) -> bool:
        """Whether an attempt failed whose outcome `settle` must find out."""
        return self._is_open and self._chain is not None and self._chain.n_unsettled > 0

    def open(self) -> None:
        """Create the tables if needed, and write the start record; does nothing if that is done.

        Raises:
            SettingsError: the tables are of another version of the program.
            StoreError: the database failed; the same call tries again.
            ChainTakenError: another process writes to the chain.
        """
        if self._is_open:
            return
        if self._chain is None:
            self._store.create()
            self._chain = ChainWriter(self._store, self._chain_name)
        if not (self._chain.n_unsettled and self._chain.settle()):
            heads = [str(head) for head in self._store.heads(MAX_HEADS)]
            self._chain.append(
                [AuditRecord(event="start", details={**self._details, "heads": heads})]
            )
        self._is_open = True
        self.n_written += 1
        self._log_head()

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Append records; raises what `ChainWriter.append` raises."""
        if self._chain is not None and records:
            self._chain.append(records)
            self._count(len(records))

    def require_same_files(self) -> None:
        """Check the files of SQLite; raises what `AuditStore.require_same_files` raises."""
        self._store.require_same_files()

    def settle(self) -> bool:
        """Whether the records of the failed attempt are there; raises as `ChainWriter.settle`."""
        if self._chain is None:
            return False
        n_records = self._chain.n_unsettled
        is_written = self._chain.settle()
        if is_written:
            self._count(n_records)
        return is_written

    def stop(self, details: Mapping[str, Any]) -> None:
        """Write the stop record and log the head. Raises StoreError, ChainTakenError."""
        if self._is_open and self._chain is not None:
            self._chain.append([AuditRecord(event="stop", details=details)])
            self.n_written += 1
            self._log_head()

    def close(self) -> None:
        """Close the connections."""
        self._store.close()

    def _count(self, n_records: int) -> None:
        self.n_written += n_records
        self._n_since_head += n_records
        if self._n_since_head >= self._head_every:
            self._log_head()

    def _log_head(self) -> None:
        """Log the head: the owner of the database cannot change it there to hide a cut tail."""
        self._n_since_head = 0
        if self.head is not None:
            head = self.logged_head = self.head
            _logger.info(
                "audit_head",
                extra={
                    "chain": head.chain,
                    "seq": head.seq,
                    "hash": head.hash,
                    "head": str(head),
                },
            )
