"""An audit of two chains, and what somebody with access to the database may do to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from hypothesis import strategies as st

from app.audit.chain import Head, Row
from app.audit.findings import Verification
from app.audit.opening import make_store
from app.audit.reading import walk_period
from app.audit.verify import verify
from tests.audit.samples import an_answer, write

CHAINS = ("a", "b")


def original_rows(folder: Path) -> list[Row]:
    """Two runs of chain a and then one of chain b, whose start record knows the end of a."""
    url = f"sqlite:///{folder}/original.sqlite3"
    write(url, *map(an_answer, range(5)), chain="a")
    write(url, *map(an_answer, range(5, 8)), chain="a")
    write(url, *map(an_answer, range(8, 12)), chain="b")
    store = make_store(url)
    rows = list(walk_period(store, None, None))
    store.close()
    return rows


def heads_of(rows: Sequence[Row]) -> list[Head]:
    """The last record of each chain, as the log has it."""
    last = {row.chain: row.head for row in sorted(rows, key=lambda row: row.seq)}
    return [last[chain] for chain in CHAINS]


class Copy:
    """A SQLite file whose rows are replaced again and again."""

    def __init__(self, folder: Path) -> None:
        self._store = make_store(f"sqlite:///{folder}/copy.sqlite3")
        self._store.create()
        self._connection = sqlite3.connect(folder / "copy.sqlite3")
        self._connection.execute("PRAGMA synchronous = OFF")

    def verify(self, rows: Sequence[Row], heads: Sequence[Head] = ()) -> Verification:
        """Verify an audit that has these rows and no others."""
        with self._connection:
            self._connection.execute("DELETE FROM audit")
            self._connection.executemany(
                "INSERT INTO audit (chain, seq, at, event, tile_sha256, request_id, record, hash) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [astuple(row) for row in rows],
            )
        return verify(self._store, heads)

    def close(self) -> None:
        self._connection.close()
        self._store.close()


@dataclass(frozen=True)
class Damage:
    """What was done, the rows that are left, and the places of which one must be named."""

    what: str
    rows: list[Row]
    places: set[tuple[str, int]]


@st.composite
def damages(draw: st.DrawFn, rows: list[Row]) -> Damage:
    """Any single edit, deletion, swap, duplication or truncation."""
    what = draw(st.sampled_from(["edit", "delete", "swap", "overwrite", "insert", "truncate"]))
    place = draw(st.integers(0, len(rows) - 1))
    other = draw(st.integers(0, len(rows) - 1).filter(lambda number: number != place))
    row, rest = rows[place], [*rows[:place], *rows[place + 1 :]]
    here = {(row.chain, row.seq)}
    if what == "edit":
        edited = draw(_edits(row))
        # Where only the hash was edited, the next record may be the one that shows it.
        return Damage(what, [*rest, edited], here | {(row.chain, row.seq + 1)})
    if what == "delete":
        return Damage(what, rest, here)
    if what == "truncate":
        kept = [r for r in rows if r.chain != row.chain or r.seq < row.seq]
        return Damage(what, kept, here)
    there = rows[other]
    if what == "swap":
        swapped = [_moved(row, there), _moved(there, row)]
        others = [r for r in rows if r not in (row, there)]
        return Damage(what, [*others, *swapped], here | {(there.chain, there.seq)})
    if what == "overwrite":
        return Damage(what, [*rest, _moved(there, row)], here)
    later = [r for r in rows if r.chain == row.chain and r.seq > row.seq]
    shifted = [replace(r, seq=r.seq + 1) for r in later]
    inserted = replace(row, seq=row.seq + 1)
    others = [r for r in rows if r not in later]
    return Damage(what, [*others, inserted, *shifted], {(row.chain, row.seq + 1)})


def _moved(row: Row, to: Row) -> Row:
    return replace(row, chain=to.chain, seq=to.seq)


def _edits(row: Row) -> st.SearchStrategy[Row]:
    def in_text(text: str) -> st.SearchStrategy[str]:
        characters = st.tuples(st.integers(0, len(text) - 1), st.sampled_from("0a9}\n "))
        return characters.map(lambda c: text[: c[0]] + c[1] + text[c[0] + 1 :])

    edited = st.one_of(
        in_text(row.record).map(lambda text: replace(row, record=text)),
        in_text(row.hash).map(lambda text: replace(row, hash=text)),
        in_text(row.at).map(lambda text: replace(row, at=text)),
        st.sampled_from(["answer", "seal", "start", ""]).map(lambda e: replace(row, event=e)),
        st.sampled_from([None, "", "0" * 64]).map(lambda t: replace(row, tile_sha256=t)),
        st.sampled_from([None, "", "x"]).map(lambda r: replace(row, request_id=r)),
        st.sampled_from([0, -1, 1000]).map(lambda seq: replace(row, seq=seq)),
        st.just(replace(row, chain="z")),
    )
    return edited.filter(lambda changed: changed != row)
