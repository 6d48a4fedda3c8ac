"""The format that `docs/audit.md` promises to others who verify a chain."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from app.audit.chain import FIRST_PREVIOUS, Head, canonical_json, empty_head, row_of, rows_of
from app.audit.records import AuditRecord
from tests.audit.samples import an_answer


def test_hash_covers_the_previous_hash_and_the_document() -> None:
    first, second = rows_of([an_answer(1), an_answer(2)], empty_head("a"))
    text = f"{FIRST_PREVIOUS}\n{first.record}".encode()
    assert first.hash == hashlib.sha256(text).hexdigest()
    assert second.hash == hashlib.sha256(f"{first.hash}\n{second.record}".encode()).hexdigest()


def test_document_has_sorted_members_without_blanks_and_exact_floats() -> None:
    at = datetime(2026, 11, 26, 7, 14, 35, 120, tzinfo=timezone(timedelta(hours=1)))
    record = AuditRecord(event="answer", at=at, caller="Zoë", probabilities={"b": 0.1 + 0.2})
    assert row_of(record, empty_head("a")).record == (
        '{"at":"2026-11-26T06:14:35.000120Z","caller":"Zoë","chain":"a","event":"answer",'
        '"probabilities":{"b":0.30000000000000004},"seq":1}'
    )


def test_columns_repeat_the_document() -> None:
    row = row_of(an_answer(5), Head("a", 6, FIRST_PREVIOUS))
    assert (row.chain, row.seq, row.event) == ("a", 7, "answer")
    assert (row.request_id, row.tile_sha256) == ("request-5", f"{5:064x}")


@pytest.mark.parametrize(
    "changes",
    [
        {"probabilities": {"a": float("nan")}},
        {"caller": "\ud800"},
        {"request_id": "a\0b"},
        {"details": {"key": object()}},
    ],
    ids=["NaN", "surrogate", "NUL", "object"],
)
def test_row_of_refuses_what_cannot_be_stored(changes: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        row_of(an_answer(**changes), empty_head("a"))


def test_canonical_json_keeps_other_alphabets_readable() -> None:
    assert canonical_json({"é": "線"}) == '{"é":"線"}'


def test_head_is_read_as_it_is_written() -> None:
    head = Head("pod-1.example_2", 12, "0f" * 32)
    assert Head.parse(str(head)) == head


@pytest.mark.parametrize("text", ["", "a:1", f"a:x:{'0' * 64}", f"a:1:{'g' * 64}", "a b:1:00"])
def test_head_refuses_other_text(text: str) -> None:
    with pytest.raises(ValueError, match="CHAIN:SEQ:HASH"):
        Head.parse(text)
