"""After a prune, the rest can still be verified, and so can the seals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.audit.chain import Row
from app.audit.chain_writer import ChainWriter
from app.audit.opening import command_chain, make_store
from app.audit.prune import plan_prune, prune
from app.audit.reading import walk_period
from app.audit.records import AuditRecord, format_time
from app.audit.store import AuditStore
from app.audit.verify import verify
from tests.audit.damage import Copy
from tests.audit.samples import an_answer, write

ON_SQLITE = pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.exhaustive)], indirect=True
)
START = datetime(2026, 1, 1, tzinfo=UTC)
N_DAYS = 30


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def day_text(number: int) -> str:
    return format_time(day(number))


def append_days(store: AuditStore, chain: str, first: int, n_days: int) -> None:
    """A run of a service: a start record, and an answer a day."""
    tail = store.tail(chain)
    start = AuditRecord(
        event="start", at=day(first), details={"heads": [str(tail)] if tail else []}
    )
    answers = (an_answer(n, at=day(n)) for n in range(first, first + n_days))
    ChainWriter(store, chain).append([start, *answers])


@pytest.fixture
def store(url: str) -> Iterator[AuditStore]:
    """Chain a has January, chain b its first days, chain c a record of today."""
    store = make_store(url)
    store.create()
    append_days(store, "a", 0, N_DAYS)
    append_days(store, "b", 0, 5)
    write(url, chain="c")
    yield store
    store.close()


def prune_before(store: AuditStore, number: int) -> None:
    prune(store, plan_prune(store, day_text(number)), day_text(number))


def rows_of(store: AuditStore) -> list[Row]:
    return list(walk_period(store, None, None))


def test_prune_keeps_the_chain_verifiable(store: AuditStore) -> None:
    prune_before(store, 10)
    found = verify(store)
    assert (found.findings, found.notes) == ([], [])
    kept = {(r.chain, r.n_removed, r.n_records) for r in found.chains}
    assert kept == {("a", 11, 20), ("b", 6, 0), ("c", 0, 2), (command_chain(), 0, 1)}


@ON_SQLITE
def test_seal_says_what_it_stands_for(store: AuditStore) -> None:
    last = next(row for row in rows_of(store) if (row.chain, row.seq) == ("a", 11))
    prune_before(store, 10)
    seal = next(row for row in rows_of(store) if row.chain == "a")
    document = json.loads(seal.record)
    assert (seal.seq, seal.hash, seal.at) == (last.seq, last.hash, last.at)
    assert document["count"] == 11
    assert document["details"]["first_at"] == day_text(0)
    assert document["details"]["hash"] == last.hash


@ON_SQLITE
def test_prune_is_recorded_with_its_seals(store: AuditStore) -> None:
    prune_before(store, 10)
    (record,) = (json.loads(r.record) for r in rows_of(store) if r.chain == command_chain())
    assert (record["event"], record["count"]) == ("prune", 17)
    assert [seal.split(":")[:2] for seal in record["details"]["seals"]] == [["a", "11"], ["b", "6"]]


@ON_SQLITE
def test_service_continues_a_chain_that_was_pruned_as_a_whole(store: AuditStore) -> None:
    prune_before(store, 10)
    append_days(store, "b", 12, 2)
    assert verify(store).findings == []


@ON_SQLITE
def test_prune_can_be_repeated(store: AuditStore) -> None:
    prune_before(store, 10)
    prune_before(store, 20)
    found = verify(store)
    assert found.findings == []
    assert [(r.chain, r.n_removed) for r in found.chains][:2] == [("a", 21), ("b", 6)]
    assert found.chains[0].first_at == day_text(0)
    assert plan_prune(store, day_text(20)) == []


@ON_SQLITE
def test_prune_of_everything_keeps_seals_and_its_own_record(store: AuditStore) -> None:
    later = format_time(datetime.now(UTC) + timedelta(days=1))
    prune_before(store, 10)
    prune(store, plan_prune(store, later), later)
    found = verify(store)
    assert found.findings == []
    assert {r.chain: r.n_records for r in found.chains} == {
        **dict.fromkeys("abc", 0),
        command_chain(): 1,
    }


@ON_SQLITE
def test_prune_in_several_transactions_is_the_same(
    store: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.audit.prune._CHUNK_ROWS", 3)
    done: list[int] = []
    prune(store, plan_prune(store, day_text(10)), day_text(10), done.append)
    assert verify(store).findings == []
    assert done[-1] == 17


def test_interrupted_prune_is_a_note_and_the_next_one_finishes_it(
    store: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(n_rows: int) -> None:
        if n_rows > 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("app.audit.prune._CHUNK_ROWS", 3)
    with pytest.raises(KeyboardInterrupt):
        prune(store, plan_prune(store, day_text(10)), day_text(10), interrupt)
    found = verify(store)
    assert found.findings == []
    assert all("Run it again" in note for note in found.notes)
    assert len(found.notes) == 2
    prune_before(store, 10)
    assert (verify(store).findings, verify(store).notes) == ([], [])


@pytest.fixture
def pruned(tmp_path: Path) -> Iterator[tuple[list[Row], Copy]]:
    """The rows of an audit after a prune, and a copy to damage."""
    store = make_store(f"sqlite:///{tmp_path}/pruned.sqlite3")
    store.create()
    append_days(store, "a", 0, N_DAYS)
    append_days(store, "b", 0, 5)
    prune_before(store, 10)
    rows = rows_of(store)
    store.close()
    copy = Copy(tmp_path)
    yield rows, copy
    copy.close()


def is_seal(row: Row) -> bool:
    return row.event == "seal" and row.chain == "a"


def test_edited_seal_is_found(pruned: tuple[list[Row], Copy]) -> None:
    rows, copy = pruned
    edited = [
        replace(row, record=row.record.replace(day_text(0), day_text(9))) if is_seal(row) else row
        for row in rows
    ]
    (finding,) = copy.verify(edited).findings
    assert (finding.chain, finding.seq, finding.kind) == ("a", 11, "seal")


def test_removed_seal_is_found(pruned: tuple[list[Row], Copy]) -> None:
    rows, copy = pruned
    (finding,) = copy.verify([row for row in rows if not is_seal(row)]).findings
    assert (finding.chain, finding.seq, finding.kind) == ("a", 1, "missing")
    found = copy.verify([row for row in rows if row.chain != "b"]).findings
    assert [(f.chain, f.seq, f.kind) for f in found] == [("b", 6, "missing")]


def test_forged_seal_is_found(pruned: tuple[list[Row], Copy]) -> None:
    """Somebody removes more records, and moves the seal to where they end."""
    rows, copy = pruned
    last = next(row for row in rows if (row.chain, row.seq) == ("a", 20))
    seal = next(filter(is_seal, rows))
    text = seal.record.replace('"seq":11', '"seq":20').replace('"count":11', '"count":20')
    text = text.replace(seal.hash, last.hash)
    forged = replace(seal, seq=20, hash=last.hash, record=text)
    kept = [row for row in rows if row.chain != "a" or row.seq > 20]
    (finding,) = copy.verify([*kept, forged]).findings
    assert (finding.chain, finding.seq, finding.kind) == ("a", 20, "seal")
