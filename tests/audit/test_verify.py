"""Whatever is done to a chain is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audit.chain import Head, Row, hash_of
from app.audit.findings import MAX_NAMED, Finding
from app.audit.opening import make_store
from app.audit.verify import count_rows, verify
from tests.audit.damage import Copy, damages, heads_of, original_rows
from tests.audit.samples import an_answer, write


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return original_rows(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    copy = Copy(tmp_path_factory.mktemp("copy"))
    yield copy
    copy.close()


def only(findings: list[Finding]) -> tuple[str, int, str]:
    (finding,) = findings
    return finding.chain, finding.seq, finding.kind


def of_chain(rows: list[Row], chain: str) -> list[Row]:
    return sorted((row for row in rows if row.chain == chain), key=lambda row: row.seq)


@given(data=st.data())
def test_verify_finds_and_names_any_single_damage(
    rows: list[Row], copy: Copy, data: st.DataObject
) -> None:
    require_named(rows, copy, data)


@pytest.mark.exhaustive
@settings(max_examples=500)
@given(data=st.data())
def test_verify_finds_and_names_many_single_damages(
    rows: list[Row], copy: Copy, data: st.DataObject
) -> None:
    require_named(rows, copy, data)


def require_named(rows: list[Row], copy: Copy, data: st.DataObject) -> None:
    damage = data.draw(damages(rows))
    found = copy.verify(damage.rows, heads_of(rows)).findings
    assert damage.places & {(finding.chain, finding.seq) for finding in found}, (damage, found)


def test_verify_finds_nothing_in_what_was_written(rows: list[Row], copy: Copy) -> None:
    found = copy.verify(rows, heads_of(rows))
    assert found.findings == []
    assert [(report.chain, report.n_records) for report in found.chains] == [("a", 12), ("b", 6)]


def test_verify_on_each_database(url: str) -> None:
    write(url, *map(an_answer, range(3)), chain="a")
    write(url, chain="b")
    store = make_store(url)
    store.open()
    try:
        assert verify(store).findings == []
        assert count_rows(store) == 7
        missing = Head("c", 3, "0" * 64)
        assert only(verify(store, [missing]).findings) == ("c", 1, "cut")
    finally:
        store.close()


def test_cut_tail_shows_against_the_start_record_of_another_chain(
    rows: list[Row], copy: Copy
) -> None:
    cut = [row for row in rows if row.chain == "b" or row.seq <= 9]
    assert only(copy.verify(cut).findings) == ("a", 10, "cut")


def test_chain_that_is_gone_shows_against_the_start_record_of_another(
    rows: list[Row], copy: Copy
) -> None:
    cut = [row for row in rows if row.chain == "b"]
    assert only(copy.verify(cut).findings) == ("a", 1, "cut")


def test_tail_of_the_last_chain_shows_only_against_the_log(rows: list[Row], copy: Copy) -> None:
    cut = [row for row in rows if row.chain == "a" or row.seq <= 4]
    assert copy.verify(cut).findings == []
    found = copy.verify(cut, heads_of(rows)).findings
    assert only(found) == ("b", 5, "cut")


def test_chain_that_was_rewritten_as_a_whole_shows_against_a_head(
    rows: list[Row], copy: Copy
) -> None:
    forged, previous = [], "0" * 64
    for row in of_chain(rows, "a"):
        text = row.record.replace("non_tumor", "no_tumour")
        previous = hash_of(previous, text)
        forged.append(replace(row, record=text, hash=previous))
    found = copy.verify([*forged, *of_chain(rows, "b")]).findings
    assert [(f.chain, f.seq, f.kind) for f in found] == [
        ("a", 7, "rewritten"),  # a later start record of the chain itself is witness, too
        ("a", 12, "rewritten"),
    ]


def test_edited_record_is_the_only_one_named(rows: list[Row], copy: Copy) -> None:
    edited = [
        replace(row, record=row.record.replace('"status":200', '"status":500'))
        if (row.chain, row.seq) == ("a", 3)
        else row
        for row in rows
    ]
    assert only(copy.verify(edited).findings) == ("a", 3, "edited")


@pytest.mark.parametrize("seq", [3, 6])
def test_doubled_record_is_called_doubled(rows: list[Row], copy: Copy, seq: int) -> None:
    record = of_chain(rows, "a")[seq - 1]
    copies = [row if row.seq != 9 or row.chain != "a" else replace(record, seq=9) for row in rows]
    assert only(copy.verify(copies).findings) == ("a", 9, "doubled")


def test_swapped_records_are_called_moved(rows: list[Row], copy: Copy) -> None:
    swap = {3: 5, 5: 3}
    moved = [replace(r, seq=swap.get(r.seq, r.seq)) if r.chain == "a" else r for r in rows]
    found = copy.verify(moved).findings
    assert [(f.seq, f.kind) for f in found] == [(3, "moved"), (5, "moved")]


def test_findings_of_a_chain_are_bounded(rows: list[Row], copy: Copy) -> None:
    many = [replace(rows[0], chain="z", seq=seq) for seq in range(1, 2 * MAX_NAMED + 1)]
    report = copy.verify(many).report("z")
    assert (len(report.findings), report.n_unnamed) == (MAX_NAMED, MAX_NAMED)
