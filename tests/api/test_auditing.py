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

SWITCH = ModelSwitch(None, ModelIdentity(name="m", version="2", bundle_sha256="0" * 64), "r", "p")


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
    store = make_store(url)
    documents = [json.loads(row.record) for row in walk_period(store, None, None)]
    store.close()
    assert [(document["event"], document.get("caller")) for document in documents] == [
        ("start", None),
        ("activation", "admin"),
        ("stop", None),
    ]
