"""A running service notices that the file of its SQLite audit is gone.

`tests/audit/test_open_files.py` replaces, moves and removes each of the files.
"""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from app.audit.chain import Head
from app.audit.opening import make_store
from app.audit.verify import verify
from tests.audit.samples import stored, stored_events
from tests.end_to_end.exchanges import TILE
from tests.end_to_end.services import ready_service
from tests.servers import RunningServer, wait_until

REQUIRED = {"OSTEO_AUDIT": "required"}


def send_tile(server: RunningServer, request_id: str) -> httpx2.Response:
    headers = {"X-Request-ID": request_id, "Content-Type": "image/jpeg"}
    return server.client.post(f"{server.url}/v1/classify", content=TILE, headers=headers)


def require_answered(server: RunningServer, request_id: str) -> None:
    answer = send_tile(server, request_id)
    assert answer.status_code == 200, answer.text


def require_refused(server: RunningServer, request_id: str) -> None:
    answer = send_tile(server, request_id)
    assert answer.status_code == 503, answer.text
    assert answer.json()["type"] == "/problems/audit-unavailable"


def failing_reasons(server: RunningServer) -> list[object]:
    """The reasons of the failures in the log so far."""
    return [event["reason"] for event in server.events() if event["event"] == "audit_failing"]


def logged_heads(server: RunningServer) -> list[Head]:
    return [
        Head(str(event["chain"]), int(str(event["seq"])), str(event["hash"]))
        for event in server.events()
        if event["event"] == "audit_head"
    ]


def findings_in(file: Path, *heads: Head) -> list[str]:
    """What `osteo audit verify` reports about a file, given heads of the log."""
    with closing(make_store(f"sqlite:///{file}")) as store:
        return [finding.kind for finding in verify(store, heads).findings]


def answered_in(file: Path) -> list[str]:
    """Request ids of the answers in a file, whose chains must be whole."""
    assert findings_in(file) == []
    records = stored(f"sqlite:///{file}")
    return [record["request_id"] for record in records if record["event"] == "answer"]


def test_removed_file_ends_the_answers_until_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state" / "audit.sqlite3"
    with ready_service(tmp_path, **REQUIRED) as server:
        require_answered(server, "before")
        file.unlink()
        require_refused(server, "after")
        wait_until(lambda: server.metric("osteo_audit_failing") == 1)
        assert not file.exists(), "a new file would hide that the old one is gone"
        wait_until(lambda: bool(failing_reasons(server) and logged_heads(server)))
        server.stop(signal.SIGKILL)  # SIGTERM would try for seconds to record the stop
    (reason, *_) = failing_reasons(server)
    assert f"{file} was removed while it was in use" in str(reason)
    (head, *_) = logged_heads(server)
    with ready_service(tmp_path, **REQUIRED) as server:
        require_answered(server, "new")
        assert server.stop() == 0
    assert answered_in(file) == ["new"]
    assert findings_in(file, head) == ["rewritten"]


@pytest.mark.exhaustive  # it waits for a refusal again
def test_file_that_is_put_back_ends_the_failure_by_itself(tmp_path: Path) -> None:
    file, aside = tmp_path / "state" / "audit.sqlite3", tmp_path / "state" / "aside"
    with ready_service(tmp_path, **REQUIRED) as server:
        require_answered(server, "before")
        file.rename(aside)
        require_refused(server, "meanwhile")
        aside.rename(file)
        wait_until(lambda: server.metric("osteo_audit_failing") == 0)
        require_answered(server, "after")
        assert server.stop() == 0
    assert answered_in(file) == ["before", "after"]
    events = stored_events(f"sqlite:///{file}")
    assert events.count("start") == 1
    assert "interruption" in events


def test_audit_that_is_on_answers_and_records_when_the_file_is_back(tmp_path: Path) -> None:
    file, aside = tmp_path / "state" / "audit.sqlite3", tmp_path / "state" / "aside"
    with ready_service(tmp_path, OSTEO_AUDIT="on") as server:
        require_answered(server, "before")
        wait_until(lambda: "answer" in stored_events(f"sqlite:///{file}"))
        file.rename(aside)
        wait_until(lambda: server.metric("osteo_audit_failing") == 1)
        require_answered(server, "meanwhile")
        aside.rename(file)
        wait_until(lambda: server.metric("osteo_audit_failing") == 0)
        assert server.metric("osteo_audit_records_dropped_total") == 0
        assert server.stop() == 0
    assert answered_in(file) == ["before", "meanwhile"]
