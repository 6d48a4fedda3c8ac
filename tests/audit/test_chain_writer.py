"""What becomes of an attempt that failed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.audit.chain import Row
from app.audit.chain_writer import ChainWriter
from app.audit.store import AuditStore
from app.audit.store_errors import ChainTakenError, StoreError
from tests.audit.samples import an_answer, stored


class UncertainStore(AuditStore):
    """Loses the connection in the first commit; the database finishes it when it sees the next."""

    late: Sequence[Row] = ()
    n_inserts = 0

    def insert(self, rows: Sequence[Row]) -> None:
        self.n_inserts += 1
        if self.n_inserts == 1:
            self.late = rows
            raise StoreError("the connection was lost", is_in_doubt=True)
        if self.late:
            late, self.late = self.late, ()
            super().insert(late)
        super().insert(rows)


class FailingStore(AuditStore):
    """Refuses the first rows and writes nothing, as on a full disk."""

    n_inserts = 0

    def insert(self, rows: Sequence[Row]) -> None:
        self.n_inserts += 1
        if self.n_inserts == 1:
            raise StoreError("database or disk is full")
        super().insert(rows)


def test_commit_that_arrives_late_is_neither_lost_nor_doubled(sqlite_url: str) -> None:
    store = UncertainStore(sqlite_url)
    store.create()
    writer = ChainWriter(store, "a")
    with pytest.raises(StoreError):
        writer.append([an_answer(1), an_answer(2)])
    assert writer.n_unsettled == 2
    assert writer.settle() is True
    writer.append([an_answer(3)])
    store.close()
    assert [d["request_id"] for d in stored(sqlite_url)] == ["request-1", "request-2", "request-3"]


def test_attempt_that_wrote_nothing_is_free_to_change(sqlite_url: str) -> None:
    store = FailingStore(sqlite_url)
    store.create()
    writer = ChainWriter(store, "a")
    with pytest.raises(StoreError):
        writer.append([an_answer(1), an_answer(2)])
    assert writer.settle() is False
    assert writer.n_unsettled == 0
    writer.append([an_answer(2)])
    store.close()
    assert [d["request_id"] for d in stored(sqlite_url)] == ["request-2"]


def test_settle_notices_another_process(sqlite_url: str) -> None:
    store, other = FailingStore(sqlite_url), AuditStore(sqlite_url)
    store.create()
    writer = ChainWriter(store, "a")
    with pytest.raises(StoreError):
        writer.append([an_answer(1)])
    ChainWriter(other, "a").append([an_answer(2)])
    with pytest.raises(ChainTakenError, match="written by another process"):
        writer.settle()
    store.close()
    other.close()
