"""Verify all chains: against themselves, against each other, and against heads from a log."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from app.audit.chain import Head, Row
from app.audit.chain_check import ChainCheck
from app.audit.findings import Verification
from app.audit.reading import row_at, spans, walk_chain
from app.audit.store import AuditStore

_REMEMBERED_HEADS: Final = 10_000


def _ignore(_n_rows: int) -> None:
    """Nobody follows the progress."""


def count_rows(store: AuditStore) -> int:
    """About how many rows `verify` will read. Raises StoreError."""
    return sum(span.last - span.first + 1 for span in spans(store))


def verify(
    store: AuditStore, heads: Sequence[Head] = (), on_progress: Callable[[int], None] = _ignore
) -> Verification:
    """Read all records and find what was edited, removed, moved, doubled or cut off.

    A chain that was cut at its end is whole in itself. It shows against the heads that start
    records of any chain hold, and against those of a log.

    Args:
        store: an open store.
        heads: heads from the log's events `audit_head`.
        on_progress: called with the number of rows read, now and then.

    Raises:
        StoreError: the database cannot be read.
    """
    return _Verifier(store, on_progress).run(heads)


class _Verifier:
    def __init__(self, store: AuditStore, on_progress: Callable[[int], None]) -> None:
        self._store, self._on_progress = store, on_progress
        self._found = Verification()
        self._seals: dict[str, Row] = {}
        self._newest_prune: dict[str, Any] = {}
        # (chain) -> the furthest head beyond the end of the chain, and who saw it
        self._cut: dict[str, tuple[Head, str]] = {}
        self._is_as_seen = lru_cache(_REMEMBERED_HEADS)(self._compare_head)

    def run(self, heads: Sequence[Head]) -> Verification:
        n_rows = 0
        for span in spans(self._store):
            check = ChainCheck(span.chain, lambda chain, seq: row_at(self._store, chain, seq))
            self._found.chains.append(check.report)
            for row in walk_chain(self._store, span.chain):
                self._check_row(check, row)
                n_rows += 1
                if n_rows % 1000 == 0:
                    self._on_progress(n_rows)
            if check.seal is not None:
                self._seals[span.chain] = check.seal
        self._check_heads(heads, "the log")
        for head, witness in self._cut.values():
            self._report_cut(head, witness)
        self._check_seals()
        self._on_progress(n_rows)
        return self._found

    def _check_row(self, check: ChainCheck, row: Row) -> None:
        document = check.check(row)
        if document is None or row.event not in {"start", "prune"}:
            return
        details = document.get("details")
        if not isinstance(details, dict):
            return
        if row.event == "start":
            seen = _heads_in(details.get("heads"))
            self._check_heads(seen, f"the start record {row.seq} of chain {row.chain}")
        elif row.at >= self._newest_prune.get("at", ""):
            self._newest_prune = document

    def _check_heads(self, heads: Iterable[Head], witness: str) -> None:
        for head in heads:
            if head.seq > 0 and not self._is_as_seen(head):
                self._name_difference(head, witness)

    def _compare_head(self, head: Head) -> bool:
        """Whether the record is there as it was seen, or was removed by a prune."""
        found = self._store.hash_at(head.chain, head.seq)
        if found is not None:
            return found == head.hash
        first = next(walk_chain(self._store, head.chain), None)
        return first is not None and first.event == "seal" and first.seq >= head.seq

    def _name_difference(self, head: Head, witness: str) -> None:
        tail = self._store.tail(head.chain)
        if tail is None or tail.seq < head.seq:
            known = self._cut.get(head.chain)
            if known is None or known[0].seq < head.seq:
                self._cut[head.chain] = head, witness
        elif self._store.hash_at(head.chain, head.seq) is not None:
            report = self._found.report(head.chain)
            report.add(
                head.seq, "rewritten", f"the record has another hash than {witness} has for it"
            )

    def _report_cut(self, head: Head, witness: str) -> None:
        tail = self._store.tail(head.chain)
        ends = "the chain has no records" if tail is None else f"the chain ends at {tail.seq}"
        first_lost = 1 if tail is None else tail.seq + 1
        self._found.report(head.chain).add(
            first_lost, "cut", f"{ends}, but {witness} knows record {head.seq}"
        )

    def _check_seals(self) -> None:
        """Compare the seals with what the newest prune recorded that it left."""
        recorded = _recorded_seals(self._newest_prune)
        for chain in sorted(recorded.keys() | self._seals.keys()):
            seal, (seq, digest) = self._seals.get(chain), recorded.get(chain, (0, ""))
            report = self._found.report(chain)
            if seal is None and self._store.tail(chain) is None:
                report.add(seq, "missing", "the seal of the removed records is missing")
            elif seal is None or seal.seq < seq:
                self._found.notes.append(
                    f"Chain {chain} still has records that were to be removed: a prune was "
                    "interrupted. Run it again."
                )
            elif (seal.seq, seal_digest(seal)) != (seq, digest):
                report.add(
                    seal.seq,
                    "seal",
                    "the seal stands for removed records, but no prune recorded this seal",
                )


def seal_digest(seal: Row) -> str:
    """SHA-256 of a seal's document, which the record of the prune keeps."""
    return hashlib.sha256(seal.record.encode()).hexdigest()


def _recorded_seals(prune: dict[str, Any]) -> dict[str, tuple[int, str]]:
    """Number and digest of the seal of each chain, from the record of a prune."""
    seals = _heads_in(prune.get("details", {}).get("seals"))
    return {seal.chain: (seal.seq, seal.hash) for seal in seals}


def _heads_in(member: object) -> list[Head]:
    """The heads that a member lists; text of another form was not written by this program."""
    found = []
    for text in member if isinstance(member, list) else []:
        with suppress(ValueError):
            found.append(Head.parse(str(text)))
    return found
