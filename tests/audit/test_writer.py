"""The writer against SQLite and a real PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.audit.chain import Head
from app.audit.opening import make_store
from app.audit.records import AuditRecord
from app.audit.writer import AuditWriter
from app.core.access_errors import AuditUnavailableError
from app.core.errors import SettingsError
from tests.audit.samples import (
    CLOSE_WITHIN_S,
    a_refusal,
    an_answer,
    logged,
    stored,
    stored_events,
    wait_until_written,
    write,
)
from tests.servers import wait_until


def test_writer_records_start_answers_and_stop(url: str) -> None:
    write(url, an_answer(1), an_answer(2))
    start, first, second, stop = stored(url)
    assert (start["event"], start["details"]) == ("start", {"version": "1.0", "heads": []})
    assert first["probabilities"] == {"viable_tumor": 0.1 + 0.2, "non_tumor": 0.7}
    assert (first["seq"], second["seq"]) == (2, 3)
    assert stop["details"] == {"written": 3, "dropped": 0}


def test_writer_continues_its_chain(url: str) -> None:
    write(url, an_answer(1))
    write(url, an_answer(2))
    assert [document["seq"] for document in stored(url)] == [1, 2, 3, 4, 5, 6]


def test_start_record_has_the_heads_of_all_chains(url: str) -> None:
    write(url, chain="a")
    write(url, chain="b")
    store = make_store(url)
    heads = {str(store.tail("a")), str(store.tail("b"))}
    store.close()
    write(url, chain="c")
    start = next(document for document in stored(url) if document["chain"] == "c")
    assert set(start["details"]["heads"]) == heads


def test_commit_returns_when_the_record_is_in_the_table(url: str) -> None:
    writer = AuditWriter(url, "a", "required")
    writer.start({})
    asyncio.run(writer.commit([an_answer(1), an_answer(2)]))
    assert stored_events(url) == ["start", "answer", "answer"]
    assert writer.head is not None
    assert writer.head.seq == writer.n_written == 3
    writer.close(CLOSE_WITHIN_S)


def test_many_commits_at_once_are_each_there_once(url: str) -> None:
    writer = AuditWriter(url, "a", "required")
    writer.start({})

    async def commit_all() -> None:
        await asyncio.gather(*(writer.commit([an_answer(number)]) for number in range(200)))

    asyncio.run(commit_all())
    writer.close(CLOSE_WITHIN_S)
    answers = [d["request_id"] for d in stored(url) if d["event"] == "answer"]
    assert answers == [f"request-{number}" for number in range(200)]


def test_full_queue_drops_counts_and_says_so_in_log_and_chain(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    writer = AuditWriter(sqlite_url, "a", "on", queue_records=5)
    for number in range(8):
        writer.submit(an_answer(number))
    assert (writer.n_waiting, writer.n_dropped) == (5, 3)
    with pytest.raises(AuditUnavailableError):
        asyncio.run(writer.commit([an_answer(9)]))
    writer.start({})
    writer.close(CLOSE_WITHIN_S)
    documents = stored(sqlite_url)
    assert [document["event"] for document in documents].count("answer") == 5
    (interruption,) = (d for d in documents if d["event"] == "interruption")
    assert interruption["count"] == 3
    assert len(logged(caplog, "audit_records_dropped")) == 1


def test_refusals_are_written_summed(sqlite_url: str) -> None:
    writer = AuditWriter(sqlite_url, "a", "on")
    writer.start({})
    for _ in range(100):
        writer.submit_refusal(a_refusal())
    writer.close(CLOSE_WITHIN_S)
    refusals = [d for d in stored(sqlite_url) if d["event"] == "refusal"]
    assert sum(document.get("count", 1) for document in refusals) == 100


def test_refusals_are_written_without_a_close(sqlite_url: str) -> None:
    writer = AuditWriter(sqlite_url, "a", "on")
    writer.start({})
    writer.submit_refusal(a_refusal())
    wait_until_written(writer, 2)
    writer.close(CLOSE_WITHIN_S)


def test_record_that_is_not_json_does_not_stop_the_others(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    writer = AuditWriter(sqlite_url, "a", "on")
    for number in range(3):
        writer.submit(an_answer(number, caller="\ud800" if number == 1 else "lab"))
    writer.start({})
    writer.close(CLOSE_WITHIN_S)
    answers = [d["request_id"] for d in stored(sqlite_url) if d["event"] == "answer"]
    assert answers == ["request-0", "request-2"]
    assert writer.n_dropped == 1
    assert len(logged(caplog, "audit_record_invalid")) == 1


def test_head_is_logged_every_so_many_records_at_start_and_at_stop(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    writer = AuditWriter(sqlite_url, "a", "required", head_every=2)
    writer.start({})
    for number in range(5):
        asyncio.run(writer.commit([an_answer(number)]))
    writer.close(CLOSE_WITHIN_S)
    heads = [Head.parse(vars(record)["head"]) for record in logged(caplog, "audit_head")]
    assert [head.seq for head in heads] == [1, 3, 5, 7]
    assert heads[-1] == writer.head


def test_second_process_with_the_same_chain_is_refused(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = AuditWriter(url, "a", "required"), AuditWriter(url, "a", "required")
    first.start({})
    second.start({})
    with pytest.raises(AuditUnavailableError):
        asyncio.run(first.commit([an_answer(1)]))
    wait_until(lambda: first.is_failing)
    asyncio.run(second.commit([an_answer(2)]))
    first.close(CLOSE_WITHIN_S)
    second.close(CLOSE_WITHIN_S)
    assert stored_events(url) == ["start", "start", "answer", "stop"]
    (event,) = logged(caplog, "audit_failing")
    assert "set OSTEO_REPLICA" in vars(event)["reason"]


def test_submit_after_the_end_is_counted(sqlite_url: str) -> None:
    writer = AuditWriter(sqlite_url, "a", "on")
    writer.start({})
    writer.close(CLOSE_WITHIN_S)
    writer.submit(an_answer())
    writer.submit_refusal(a_refusal())
    assert writer.n_dropped == 2


def test_file_is_readable_by_its_owner_only(sqlite_url: str, tmp_path: Path) -> None:
    write(sqlite_url)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "audit.sqlite3").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", ["on", "required"])
def test_database_that_cannot_be_written_stops_the_start_only_if_required(
    tmp_path: Path, mode: str
) -> None:
    (tmp_path / "state").write_text("a file where the folder belongs")
    changes: list[bool] = []
    url = f"sqlite:///{tmp_path}/state/audit.sqlite3"
    writer = AuditWriter(url, "a", mode, on_change=changes.append)  # type: ignore[arg-type] # one of the two
    if mode == "required":
        with pytest.raises(SettingsError, match=r"state.*cannot be written.*OSTEO_AUDIT_URL"):
            writer.start({})
        return
    writer.start({})
    assert writer.is_failing
    writer.submit(an_answer(1))
    (tmp_path / "state").unlink()
    wait_until_written(writer, 3)
    wait_until(lambda: changes == [True, False])
    assert not writer.is_failing
    writer.close(CLOSE_WITHIN_S)
    assert stored_events(url) == ["start", "interruption", "answer", "stop"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://db/osteo", "'mysql'"),
        ("no url", "not a URL"),
        ("sqlite://", "names no file"),
    ],
)
def test_wrong_url_is_refused_in_every_mode(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        AuditWriter(url, "a", "on").start({})


def test_empty_commit_returns_at_once(sqlite_url: str) -> None:
    no_records: list[AuditRecord] = []
    asyncio.run(AuditWriter(sqlite_url, "a", "on").commit(no_records))
