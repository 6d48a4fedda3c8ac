"""The hash chain: each record's hash covers its document and the hash of the record before it.

`docs/audit.md` describes the format, so that others can verify it without this code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from app.audit.records import AuditRecord, members_of

FIRST_PREVIOUS: Final = "0" * 64
"""Stands for the hash before the first record of a chain."""

_ENCODER: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
_HEAD_PATTERN: Final = re.compile(r"([A-Za-z0-9._-]{1,140}):([0-9]{1,18}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Head:
    """A record of a chain, usually the last one.

    Attributes:
        chain: name of the chain.
        seq: sequence number of the record; they start at 1, and 0 is the head of an empty chain.
        hash: SHA-256 of the record in hexadecimal.
    """

    chain: str
    seq: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `CHAIN:SEQ:HASH`.

        Raises:
            ValueError: the text has another form.
        """
        match = _HEAD_PATTERN.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{text!r} is not a head of a chain; write CHAIN:SEQ:HASH, as in the log's event "
                "audit_head"
            )
        return cls(match[1], int(match[2]), match[3])

    def __str__(self) -> str:
        return f"{self.chain}:{self.seq}:{self.hash}"


def empty_head(chain: str) -> Head:
    """The head of a chain that has no record yet."""
    return Head(chain, 0, FIRST_PREVIOUS)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: the record's document, what it is found by, and its hash.

    Attributes:
        chain: name of the chain.
        seq: sequence number, from 1.
        at: the time of the document.
        event: the event of the document.
        tile_sha256: the tile of the document, if there is one.
        request_id: the request of the document, if there is one.
        record: the document, as canonical JSON.
        hash: SHA-256 of the previous row's hash, a line break and the document.
    """

    chain: str
    seq: int
    at: str
    event: str
    tile_sha256: str | None
    request_id: str | None
    record: str
    hash: str

    @property
    def head(self) -> Head:
        """Where the row is, and its hash."""
        return Head(self.chain, self.seq, self.hash)


def canonical_json(document: Any) -> str:
    """JSON with sorted members, without blanks, and floats as Python's `repr`.

    Raises:
        ValueError: the document has NaN, infinity or text that is not Unicode.
        TypeError: the document has a value that JSON does not know.
    """
    text = _ENCODER.encode(document)
    text.encode()  # a lone surrogate is not UTF-8
    return text


def hash_of(previous: str, record: str) -> str:
    """SHA-256 in hexadecimal of a record.

    Args:
        previous: hash of the record before it, in hexadecimal.
        record: its document, as canonical JSON.
    """
    return hashlib.sha256(f"{previous}\n{record}".encode()).hexdigest()


def row_of(record: AuditRecord, previous: Head) -> Row:
    """The row that follows a head.

    Raises:
        ValueError: the record cannot be written as JSON or into a column.
        TypeError: the record has a value that JSON does not know.
    """
    seq = previous.seq + 1
    members = members_of(record)
    members["chain"], members["seq"] = previous.chain, seq
    for name in ("request_id", "tile_sha256"):
        if "\0" in members.get(name, ""):
            raise ValueError(f"{name} has a NUL character, which PostgreSQL does not store")
    text = canonical_json(members)
    return Row(
        previous.chain,
        seq,
        members["at"],
        record.event,
        record.tile_sha256,
        record.request_id,
        text,
        hash_of(previous.hash, text),
    )


def seal_of(last: Row, details: Mapping[str, Any]) -> Row:
    """The row that takes the place of a record and of all records before it.

    It has the time and the hash of that record, so that the next one still follows it. Its own
    document is not part of the chain: the record of the prune holds its digest.

    Args:
        last: the last record that is removed.
        details: what was removed, when and by whom; plain JSON.
    """
    document = {
        "at": last.at,
        "chain": last.chain,
        "count": last.seq,
        "details": {**details, "hash": last.hash},
        "event": "seal",
        "seq": last.seq,
    }
    text = canonical_json(document)
    return Row(last.chain, last.seq, last.at, "seal", None, None, text, last.hash)


def rows_of(records: Sequence[AuditRecord], previous: Head) -> list[Row]:
    """The rows of several records that follow a head; raises what `row_of` raises."""
    rows = []
    for record in records:
        rows.append(row_of(record, previous))
        previous = rows[-1].head
    return rows


def is_writable(record: AuditRecord) -> bool:
    """Whether `row_of` accepts a record."""
    try:
        row_of(record, empty_head("any"))
    except (TypeError, ValueError):
        return False
    return True
