"""Appends to one chain, and finds out what became of an attempt that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.audit.chain import Row, empty_head, rows_of
from app.audit.records import AuditRecord
from app.audit.store_errors import ChainTakenError, StoreError

if TYPE_CHECKING:
    from app.audit.store import AuditStore


class ChainWriter:
    """The end of a chain.

    Attributes:
        head: the last record that is known to be committed.
    """

    def __init__(self, store: AuditStore, chain: str) -> None:
        """Read where the chain ends. Raises StoreError."""
        self._store = store
        self.head = store.tail(chain) or empty_head(chain)
        self._attempt: Sequence[Row] = ()
        self._is_in_doubt = False

    @property
    def n_unsettled(self) -> int:
        """Records of an attempt that failed; `settle` says what became of them."""
        return len(self._attempt)

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Append records in one transaction.

        Raises:
            ValueError: a record cannot be written as JSON.
            TypeError: a record has a value that JSON does not know.
            ChainTakenError: another process appended to this chain.
            StoreError: the database failed; `settle` says whether the records are there.
        """
        self._insert(rows_of(records, self.head))

    def settle(self) -> bool:
        """Whether the records of the failed attempt are in the table.

        If the connection was lost during the commit, the database may still be at work on it. Then
        the same rows are inserted again, which waits for the other transaction and finds its rows.

        Raises:
            ChainTakenError: another process appended to this chain.
            StoreError: the database still fails.
        """
        attempt = self._attempt
        tail = self._store.tail(self.head.chain) or empty_head(self.head.chain)
        if tail == attempt[-1].head:
            self.head, self._attempt, self._is_in_doubt = tail, (), False
            return True
        # A shorter chain is a database that was restored; `osteo audit verify` names the gap.
        if tail.seq > self.head.seq or (tail.seq == self.head.seq and tail != self.head):
            raise ChainTakenError(tail.chain, tail.seq)
        if self._is_in_doubt:
            self._insert(attempt)
            return True
        self._attempt = ()
        return False

    def _insert(self, rows: Sequence[Row]) -> None:
        try:
            self._store.insert(rows)
        except StoreError as error:
            self._attempt = rows
            self._is_in_doubt = self._is_in_doubt or error.is_in_doubt
            raise
        self.head, self._attempt, self._is_in_doubt = rows[-1].head, (), False
