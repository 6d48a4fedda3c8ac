"""Remove old records so that what is left can still be verified."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.audit.chain import Head, Row, seal_of
from app.audit.command_records import append_by_command, user_name
from app.audit.reading import chain_rows, first_since, row_at, spans
from app.audit.records import AuditRecord, format_time, utc_now
from app.audit.store import AuditStore
from app.audit.verify import seal_digest

_CHUNK_ROWS: Final = 5000
"""Rows removed in one transaction, so that a service that writes to the same file need not wait."""


def _ignore(_n_rows: int) -> None:
    """Nobody follows the progress."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What will be removed from a chain: everything up to `last`.

    Attributes:
        first: the first row, or the seal of an earlier prune.
        last: the last record to be removed.
    """

    first: Row
    last: Row

    @property
    def n_records(self) -> int:
        """Records that are removed now."""
        n_rows = self.last.seq - self.first.seq + 1
        return n_rows - (self.first.event == "seal")

    @property
    def first_at(self) -> str:
        """Time of the chain's first record, also if an earlier prune has removed it."""
        if self.first.event != "seal":
            return self.first.at
        details: dict[str, Any] = json.loads(self.first.record)["details"]
        return str(details["first_at"])


def plan_prune(store: AuditStore, before: str) -> list[Removal]:
    """What a prune would remove: of each chain, the records before its first later one.

    Args:
        store: an open store.
        before: records at or after this time stay; as `format_time` writes it.

    Raises:
        StoreError: the database cannot be read.
    """
    removals = []
    for span in spans(store):
        kept = first_since(store, span.chain, before)
        last_seq = span.last if kept is None else kept - 1
        first, last = row_at(store, span.chain, span.first), row_at(store, span.chain, last_seq)
        if first is not None and last is not None and last.event != "seal":
            removals.append(Removal(first, last))
    return removals


def prune(
    store: AuditStore,
    removals: Sequence[Removal],
    before: str,
    on_progress: Callable[[int], None] = _ignore,
) -> Head:
    """Remove records, put a seal in the place of those of each chain, and record that.

    The record is written first and names every seal that is left, also those of earlier prunes.
    An interrupted prune is finished by the next one.

    Args:
        store: an open store.
        removals: from `plan_prune`.
        before: the time that was given to it.
        on_progress: called with the number of rows removed so far.

    Returns:
        The place of the record of this prune.

    Raises:
        StoreError: the database failed; what was removed until then is sealed.
        ChainTakenError: other commands wrote to the chain without a break.
    """
    who, now = user_name(), format_time(utc_now())
    seals = {
        removal.last.chain: _seal(removal.last, removal.first_at, before, who, now)
        for removal in removals
    }
    record = AuditRecord(
        event="prune",
        caller=who,
        caller_kind="command",
        count=sum(removal.n_records for removal in removals),
        details={"before": before, "seals": _digests(store, seals)},
    )
    place = append_by_command(store, record)
    n_removed = 0
    for removal in removals:
        chain, last_seq, first_at = removal.last.chain, removal.last.seq, removal.first_at
        after_seq = removal.first.seq - 1
        while rows := chain_rows(store, chain, _CHUNK_ROWS, after_seq):
            rows = [row for row in rows if row.seq <= last_seq]
            is_last = rows[-1].seq == last_seq
            seal = seals[chain] if is_last else _seal(rows[-1], first_at, before, who, now)
            store.replace(chain, rows[-1].seq, seal)
            n_removed += len(rows)
            on_progress(n_removed)
            after_seq = rows[-1].seq
            if is_last:
                break
    return place


def _seal(last: Row, first_at: str, before: str, who: str, now: str) -> Row:
    details = {"before": before, "first_at": first_at, "pruned_at": now, "pruned_by": who}
    return seal_of(last, details)


def _digests(store: AuditStore, seals: dict[str, Row]) -> list[str]:
    """Chain, number and digest of every seal that will be there."""
    kept = dict(seals)
    for span in spans(store):
        row = row_at(store, span.chain, span.first)
        if row is not None and row.event == "seal":
            kept.setdefault(span.chain, row)
    return [str(Head(chain, row.seq, seal_digest(row))) for chain, row in sorted(kept.items())]
