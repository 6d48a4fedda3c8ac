"""Records, writers and what they wrote."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from app.audit.opening import make_store
from app.audit.records import AuditRecord
from app.audit.store import columns
from app.audit.tables import AUDIT
from app.audit.writer import AuditWriter
from tests.servers import wait_until

CLOSE_WITHIN_S = 60.0


def an_answer(number: int = 0, **changes: Any) -> AuditRecord:
    """An answer whose request and tile have a number."""
    members: dict[str, Any] = {
        "caller": "lab",
        "caller_kind": "key",
        "request_id": f"request-{number}",
        "route": "/v1/classify",
        "status": 200,
        "tile_sha256": f"{number:064x}",
        "model_name": "osteo-mobilenetv2",
        "model_version": "3",
        "bundle_sha256": "b" * 64,
        "runtime": "litert",
        "precision": "fp32",
        "probabilities": {"viable_tumor": 0.1 + 0.2, "non_tumor": 0.7},
        "prediction": "non_tumor",
        "prediction_set": ["non_tumor"],
        "review_reasons": [],
    }
    return AuditRecord(event="answer", **{**members, **changes})


def a_refusal(caller: str = "lab", **changes: Any) -> AuditRecord:
    members: dict[str, Any] = {"route": "/v1/classify", "status": 429, "reason": "queue-full"}
    return AuditRecord(event="refusal", caller=caller, **{**members, **changes})


def stored(url: str) -> list[dict[str, Any]]:
    """The documents in the table, by chain and sequence number."""
    store = make_store(url)
    rows = store.rows(AUDIT.select().with_only_columns(*columns()).order_by("chain", "seq"))
    store.close()
    return [json.loads(row.record) for row in rows]


def stored_events(url: str) -> list[str]:
    return [document["event"] for document in stored(url)]


def write(url: str, *records: AuditRecord, chain: str = "replica-1") -> None:
    """One run of a service that records something."""
    writer = AuditWriter(url, chain, "required")
    writer.start({"version": "1.0"})
    for record in records:
        writer.submit(record)
    writer.close(CLOSE_WITHIN_S)
    assert writer.n_dropped == 0


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage() == event]


def wait_until_written(writer: AuditWriter, number: int) -> None:
    wait_until(lambda: writer.n_written >= number)
