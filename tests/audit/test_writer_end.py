"""What the writer does with records that it cannot write before the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.audit.writer import AuditWriter
from tests.audit.samples import (
    CLOSE_WITHIN_S,
    a_refusal,
    an_answer,
    logged,
    stored,
    wait_until_written,
)
from tests.servers import wait_until


@pytest.fixture
def blocked_url(tmp_path: Path) -> str:
    """A file in a folder that cannot be made yet: `state` is a file."""
    (tmp_path / "state").write_text("a file where the folder belongs")
    return f"sqlite:///{tmp_path}/state/audit.sqlite3"


def test_records_that_cannot_be_written_before_the_end_are_counted_and_logged(
    blocked_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    writer = AuditWriter(blocked_url, "a", "on")
    writer.start({})
    for number in range(3):
        writer.submit(an_answer(number))
    writer.close(0.0)
    (event,) = logged(caplog, "audit_records_lost")
    assert vars(event)["n_records"] == writer.n_dropped == 3


def test_refusals_stay_summed_while_the_queue_is_full(
    blocked_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.audit.refusals.WINDOW_S", 0.0)
    writer = AuditWriter(blocked_url, "a", "on", queue_records=2)
    writer.start({})
    writer.submit(an_answer(1))
    writer.submit(an_answer(2))
    for number in range(100):
        writer.submit_refusal(a_refusal(f"caller-{number % 5}"))
    assert writer.n_waiting == 2
    (tmp_path / "state").unlink()
    wait_until(lambda: not writer.is_failing)
    wait_until_written(writer, 9)
    writer.close(CLOSE_WITHIN_S)
    refusals = [d for d in stored(blocked_url) if d["event"] == "refusal"]
    assert [document["count"] for document in refusals] == [20] * 5
    assert writer.n_dropped == 0


def test_close_without_a_start_returns(sqlite_url: str) -> None:
    AuditWriter(sqlite_url, "a", "on").close(CLOSE_WITHIN_S)
