"""Records of switches; `tests/end_to_end/test_recorded.py` shows those of a running service."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.access.caller import Caller, Scope
from app.access.key_changes import revoke_key
from app.api.auditing import Auditor
from app.api.request_context import request_context
from app.audit.opening import make_store
from app.audit.reading import walk_period
from app.audit.writer import AuditWriter
from app.inference.results import ModelIdentity
from app.serving.rollout import ModelSwitch
from tests.access.keys import bearer, make_key
from tests.bundles import plain_tile
from tests.conftest import MakeClient

SWITCH = ModelSwitch(None, ModelIdentity(name="m", version="2", bundle_sha256="0" * 64), "r", "p")


TILE = plain_tile((1, 200, 1))
PNG = {"Content-Type": "image/png"}


def documents(url: str) -> list[dict[str, Any]]:
    store = make_store(url)
    found = [json.loads(row.record) for row in walk_period(store, None, None)]
    store.close()
    return found


def recorded(url: str) -> list[tuple[str, str | None]]:
    """Event and caller of each record."""
    return [(document["event"], document.get("caller")) for document in documents(url)]


def test_switch_is_recorded_if_its_request_is_cancelled(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'audit.sqlite3'}"
    writer = AuditWriter(url, "replica", "on")
    writer.start({})
    auditor = Auditor(writer, is_required=False)
    scope: dict[str, Any] = {"method": "POST", "path": "/", "headers": [], "state": {}}
    request_context(scope).caller = Caller("admin", "key", frozenset({Scope.MODELS_WRITE}))

    async def cancelled() -> None:
        with auditor.noting_switches(scope):
            auditor.note_switch(SWITCH)
            raise asyncio.CancelledError

    async def run() -> None:
        await asyncio.gather(cancelled(), return_exceptions=True)

    asyncio.run(run())
    writer.close(10)
    assert recorded(url) == [("start", None), ("activation", "admin"), ("stop", None)]


def test_probe_of_a_service_without_a_model_is_not_recorded(
    make_client: MakeClient, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'audit.sqlite3'}"
    client = make_client(wait=False, models_dir=tmp_path, audit="required", audit_url=url)
    assert client.get("/readyz").status_code == 503
    assert client.get("/nothing").status_code == 404
    client.__exit__(None, None, None)
    assert [event for event, _ in recorded(url)] == ["start", "refusal", "stop"]


def test_head_of_the_chain_is_a_metric(make_client: MakeClient, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'audit.sqlite3'}"
    client = make_client(audit="required", audit_url=url, replica="pod-0", audit_head_every=1)
    client.post(
        "/v1/classify", content=plain_tile((1, 200, 1)), headers={"Content-Type": "image/png"}
    )
    store = make_store(url)
    last = list(walk_period(store, None, None))[-1]
    store.close()
    head = f'osteo_audit_head_sequence{{chain="pod-0",hash="{last.hash}"}} {float(last.seq)}'
    assert head in client.get("/metrics").text.splitlines()


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Nobody else can write to a file of SQLite meanwhile."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def test_problem_waits_for_its_record_if_its_caller_is_known(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.audit.writer.COMMIT_TIMEOUT_S", 0.2)
    keys, file = tmp_path / "keys.json", tmp_path / "audit.sqlite3"
    lis, url = make_key(keys, "lis"), f"sqlite:///{file}"
    client = make_client(audit="required", audit_url=url, keys_file=keys)

    def statuses(headers: dict[str, str]) -> list[int]:
        return [
            client.get("/nothing", headers=headers).status_code,
            client.post("/v1/models/rollback", headers=headers).status_code,
            client.post("/v1/classify", content=b"no tile", headers=headers | PNG).status_code,
        ]

    with locked(file):
        assert statuses(lis) == [503] * 3
        assert statuses({}) == [401] * 3  # a flood of strangers must not write at its own rate
    monkeypatch.setattr("app.audit.writer.COMMIT_TIMEOUT_S", 60.0)
    assert statuses(lis | {"X-Request-ID": "later"}) == [404, 403, 415]

    def later() -> list[tuple[str, str, int]]:
        found = (document for document in documents(url) if document.get("request_id") == "later")
        return [(record["reason"], record["route"], record["status"]) for record in found]

    committed = [
        ("not-found", "unmatched", 404),
        ("scope-missing", "/v1/models/rollback", 403),
        ("unsupported-format", "/v1/classify", 415),
    ]
    assert later() == committed
    client.__exit__(None, None, None)
    assert later() == committed, "a refusal is there twice"


def test_problem_of_an_open_service_does_not_wait(make_client: MakeClient, tmp_path: Path) -> None:
    file = tmp_path / "audit.sqlite3"
    client = make_client(audit="required", audit_url=f"sqlite:///{file}")
    with locked(file):
        assert client.get("/nothing").status_code == 404


def test_answer_that_could_not_be_recorded_is_a_refusal(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.audit.writer.COMMIT_TIMEOUT_S", 0.2)
    file = tmp_path / "audit.sqlite3"
    url = f"sqlite:///{file}"
    client = make_client(audit="required", audit_url=url)
    headers = PNG | {"X-Request-ID": "unrecorded"}
    with locked(file):
        answer = client.post("/v1/classify", content=TILE, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/audit-unavailable")
    client.__exit__(None, None, None)
    found = [document for document in documents(url) if document["event"] == "refusal"]
    assert [(record["request_id"], record["reason"]) for record in found] == [
        ("unrecorded", "audit-unavailable")
    ]
    assert (found[0]["status"], found[0]["route"]) == (503, "/v1/classify")


def test_refusal_says_what_is_wrong_with_the_credentials(
    make_client: MakeClient, tmp_path: Path
) -> None:
    keys, url = tmp_path / "keys.json", f"sqlite:///{tmp_path / 'audit.sqlite3'}"
    make_key(keys, "lis")
    revoked = make_key(keys, "old")
    revoke_key(keys, "old")
    unknown = bearer("osteo_00000000_" + "A" * 43)
    client = make_client(audit="on", audit_url=url, keys_file=keys)
    for headers in ({}, revoked, unknown, revoked):
        assert client.get("/v1/models", headers=headers).status_code == 401
    client.__exit__(None, None, None)
    found = [document for document in documents(url) if document["event"] == "refusal"]
    counts = {
        (document["reason"], document["details"]["credentials"]): document.get("count", 1)
        for document in found
    }
    assert counts == {
        ("credentials-missing", "missing"): 1,
        ("credentials-invalid", "revoked"): 2,
        ("credentials-invalid", "unknown"): 1,
    }
