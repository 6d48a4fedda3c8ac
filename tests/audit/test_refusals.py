"""Refusals are summed, so that a flood of them stays small."""

from __future__ import annotations

import pytest

from app.audit.refusals import MAX_KINDS, WINDOW_S, SummedRefusals
from tests.audit.samples import a_refusal


def test_equal_refusals_become_one_record() -> None:
    refusals = SummedRefusals()
    for number in range(1000):
        refusals.add(a_refusal(request_id=f"r{number}"))
    (record,) = refusals.take(is_closing=True)
    assert record.count == 1000
    assert record.request_id is None
    assert record.details is not None
    assert "until" in record.details


def test_single_refusal_keeps_its_request() -> None:
    refusals = SummedRefusals()
    refusals.add(a_refusal(request_id="r1", tile_sha256="0" * 64))
    (record,) = refusals.take(is_closing=True)
    assert (record.request_id, record.tile_sha256, record.count) == ("r1", "0" * 64, None)


def test_different_refusals_stay_apart() -> None:
    refusals = SummedRefusals()
    different = [
        a_refusal(),
        a_refusal("clinic"),
        a_refusal(route="/v1/explain"),
        a_refusal(status=503),
        a_refusal(reason="rate-limited"),
        a_refusal(details={"credentials": "expired"}),
        a_refusal(details={"credentials": "revoked"}),
    ]
    for record in different * 2:
        refusals.add(record)
    taken = refusals.take(is_closing=True)
    assert [record.count for record in taken] == [2] * 7
    found = [(record.details or {}).get("credentials") for record in taken]
    assert found == [None] * 5 + ["expired", "revoked"]


def test_memory_is_bounded_when_every_refusal_has_another_caller() -> None:
    refusals = SummedRefusals()
    n_callers = 10 * MAX_KINDS
    for number in range(n_callers):
        refusals.add(a_refusal(f"subject-{number}"))
    taken = refusals.take(is_closing=True)
    assert len(taken) == MAX_KINDS + 1
    assert sum(record.count or 1 for record in taken) == n_callers
    assert taken[-1].caller is None
    assert taken[-1].reason == "queue-full"


def test_refusals_wait_until_their_second_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("app.audit.refusals.time.monotonic", lambda: now[0])
    refusals = SummedRefusals()
    refusals.add(a_refusal())
    now[0] += WINDOW_S / 2
    assert refusals.take() == []
    now[0] += WINDOW_S / 2
    assert len(refusals.take()) == 1
