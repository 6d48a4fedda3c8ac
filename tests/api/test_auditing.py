"""Records of switches; `tests/end_to_end/test_recorded.py` shows those of a running service."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from app.access.caller import Caller, Scope
from app.api.auditing import Auditor
from app.api.request_context import request_context
from app.audit.opening import make_store
from app.audit.reading import walk_period
from app.audit.writer import AuditWriter
from app.inference.results import ModelIdentity
from app.serving.rollout import ModelSwitch
from tests.bundles import plain_tile
from tests.conftest import MakeClient

SWITCH = ModelSwitch(None, ModelIdentity(name="m", version="2", bundle_sha256="0" * 64), "r", "p")


def recorded(url: str) -> list[tuple[str, str | None]]:
    """Event and caller of each record."""
    store = make_store(url)
    documents = [json.loads(row.record) for row in walk_period(store, None, None)]
    store.close()
    return [(document["event"], document.get("caller")) for document in documents]


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
