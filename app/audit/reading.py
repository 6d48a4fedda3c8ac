"""Read rows page by page: memory stays flat, and a service that writes is not in the way.

Imports SQLAlchemy; commands import this module after `opening.make_store`, which names the extra.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from app.audit.chain import Row
from app.audit.store import AuditStore, columns
from app.audit.tables import AUDIT

PAGE_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Span:
    """First and last sequence number of a chain's rows.

    Attributes:
        chain: name of the chain.
        first: 1, or the number of the seal that stands for removed records.
        last: of the last record.
    """

    chain: str
    first: int
    last: int


def span_of(store: AuditStore, chain: str) -> Span | None:
    """Where a chain begins and ends; None if it has no rows. Raises StoreError."""
    first = chain_rows(store, chain, 1)
    tail = store.tail(chain)
    return Span(chain, first[0].seq, tail.seq) if first and tail else None


def spans(store: AuditStore) -> list[Span]:
    """Where each chain begins and ends. Raises StoreError."""
    found = (span_of(store, chain) for chain in sorted(store.chains()))
    return [span for span in found if span is not None]


def chain_rows(store: AuditStore, chain: str, limit: int, after_seq: int = 0) -> list[Row]:
    """Some rows of a chain, by sequence number. Raises StoreError."""
    query = sa.select(*columns()).where(AUDIT.c.chain == chain, AUDIT.c.seq > after_seq)
    return store.rows(query.order_by(AUDIT.c.seq).limit(limit))


def walk_chain(store: AuditStore, chain: str) -> Iterator[Row]:
    """All rows of a chain, by sequence number. Raises StoreError."""
    after_seq = -1
    while page := chain_rows(store, chain, PAGE_ROWS, after_seq):
        yield from page
        after_seq = page[-1].seq


def first_since(store: AuditStore, chain: str, at: str) -> int | None:
    """Sequence number of a chain's first record at or after a time. Raises StoreError."""
    query = sa.select(*columns()).where(AUDIT.c.chain == chain, AUDIT.c.at >= at)
    rows = store.rows(query.order_by(AUDIT.c.seq).limit(1))
    return rows[0].seq if rows else None


def row_at(store: AuditStore, chain: str, seq: int) -> Row | None:
    """One row; None if it is missing. Raises StoreError."""
    rows = store.rows(sa.select(*columns()).where(AUDIT.c.chain == chain, AUDIT.c.seq == seq))
    return rows[0] if rows else None


def walk_period(store: AuditStore, since: str | None, until: str | None) -> Iterator[Row]:
    """All rows of a period, by time.

    Args:
        store: the audit.
        since: from this time on, as `format_time` writes it; from the beginning if None.
        until: before this time; to the end if None.

    Raises:
        StoreError: the database cannot be read.
    """
    conditions = [AUDIT.c.at >= since] if since else []
    conditions += [AUDIT.c.at < until] if until else []
    return _walk(store, conditions)


def walk_found(store: AuditStore, tile_sha256: str | None, request_id: str | None) -> Iterator[Row]:
    """The rows of a tile, of a request, or of both, by time. Raises StoreError."""
    conditions = [AUDIT.c.tile_sha256 == tile_sha256] if tile_sha256 else []
    conditions += [AUDIT.c.request_id == request_id] if request_id else []
    return _walk(store, conditions)


def _walk(store: AuditStore, conditions: list[sa.ColumnElement[bool]]) -> Iterator[Row]:
    place = sa.tuple_(AUDIT.c.at, AUDIT.c.chain, AUDIT.c.seq)
    query: sa.Select[Any] = sa.select(*columns()).where(*conditions)
    query = query.order_by(AUDIT.c.at, AUDIT.c.chain, AUDIT.c.seq).limit(PAGE_ROWS)
    page = store.rows(query)
    while page:
        yield from page
        last = page[-1]
        page = store.rows(query.where(place > sa.tuple_(last.at, last.chain, last.seq)))
