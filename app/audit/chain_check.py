"""Walks one chain, row by row, and names the records that are not as they were written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from app.audit.chain import FIRST_PREVIOUS, Row, hash_of
from app.audit.findings import ChainReport

_COLUMNS: Final = ("at", "event", "tile_sha256", "request_id")


class ChainCheck:
    """The state of a walk along a chain.

    Attributes:
        report: what was found so far.
        seal: the row that stands for removed records; None if there is none.
    """

    def __init__(self, chain: str, find_row: Callable[[str, int], Row | None]) -> None:
        """Begin before the first record.

        Args:
            chain: name of the chain.
            find_row: looks another row up, to tell a doubled record from a moved one.
        """
        self.report = ChainReport(chain)
        self.seal: Row | None = None
        self._find_row = find_row
        self._next_seq = 1
        # Hashes that the next record may follow; None if any, because what was before is unknown.
        self._previous: set[str] | None = {FIRST_PREVIOUS}

    def check(self, row: Row) -> dict[str, Any] | None:
        """Check the next row.

        Returns:
            Its document; None if the row does not hold the record that was written here.
        """
        document = _parse(row.record)
        if self.seal is None and self._next_seq == 1 and row.event == "seal":
            self._take_seal(row, document)
        else:
            self._check_place(row)
            is_good = self._check_content(row, document)
            self.report.n_records += 1
            document = document if is_good else None
        report = self.report
        report.first_at, report.last_at = report.first_at or row.at, row.at
        report.head = row.head
        self._next_seq = row.seq + 1
        return document

    def _take_seal(self, row: Row, document: dict[str, Any] | None) -> None:
        details = (document or {}).get("details")
        details = details if isinstance(details, dict) else {}
        wanted = {"chain": row.chain, "seq": row.seq, "event": "seal", "count": row.seq}
        is_whole = document is not None and wanted.items() <= document.items()
        if not is_whole or details.get("hash") != row.hash:
            self.report.add(
                row.seq, "edited", "the seal that stands for removed records was edited"
            )
        self.seal = row
        self.report.n_removed = row.seq
        self.report.first_at = str(details.get("first_at", row.at))
        self._previous = {row.hash}

    def _check_place(self, row: Row) -> None:
        if row.seq < self._next_seq:  # only 0 or less: sequence numbers are unique and ascend
            self.report.add(row.seq, "moved", "no record has this number; they start at 1")
        elif row.seq > self._next_seq:
            first, last = self._next_seq, row.seq - 1
            several = f"records {first} to {last} are missing"
            sentence = f"record {first} is missing" if first == last else several
            self.report.add(first, "missing", sentence)
            self._previous = None

    def _check_content(self, row: Row, document: dict[str, Any] | None) -> bool:
        """Check what the row holds, and decide what the next one may follow."""
        previous = self._previous
        right = {hash_of(before, row.record) for before in previous or ()}
        if document is None:
            self.report.add(row.seq, "edited", "the record is not JSON any more")
        elif (document.get("chain"), document.get("seq")) != (row.chain, row.seq):
            self._name_moved(row, document)
            self._previous = None
            return False
        elif (column := _differing_column(row, document)) is not None:
            self.report.add(row.seq, "edited", f"the column {column} differs from the record")
        elif previous is None or row.hash in right:
            self._previous = {row.hash}
            return True
        else:
            self.report.add(
                row.seq,
                "edited",
                "the hash does not fit: this record, its hash or the record before was edited",
            )
        # Whichever was edited, the document or the hash: the other one leads on.
        self._previous = None if previous is None else {row.hash, *right}
        return False

    def _name_moved(self, row: Row, document: dict[str, Any]) -> None:
        chain, seq = document.get("chain"), document.get("seq")
        origin = f"record {seq}" if chain == row.chain else f"record {seq} of chain {chain}"
        is_number = isinstance(chain, str) and isinstance(seq, int)
        other = self._find_row(str(chain), int(seq)) if is_number and seq is not None else None
        if other is not None and other.record == row.record:
            self.report.add(row.seq, "doubled", f"{origin} stands here a second time")
        else:
            self.report.add(row.seq, "moved", f"{origin} stands here")


def _parse(text: str) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _differing_column(row: Row, document: dict[str, Any]) -> str | None:
    return next((name for name in _COLUMNS if getattr(row, name) != document.get(name)), None)
