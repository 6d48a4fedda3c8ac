"""What is logged while a collector does not take spans."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.core.errors import SettingsError
from app.telemetry.open_tracing import open_tracer
from app.telemetry.span_export import FailureLog, SpanExport
from app.telemetry.tracing import stage, tracing
from tests.authorities import Authority
from tests.servers import wait_until
from tests.telemetry.collectors import collector
from tests.telemetry.test_tracing import Clock, tracer_of


def test_failures_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    failures = FailureLog("/v1/traces", clock)
    with caplog.at_level(logging.INFO, "osteo"):
        for clock.now_s in (0.0, 1.0, 59.0, 61.0, 62.0):
            failures.note(is_taken=False)
        failures.note(is_taken=True)
        failures.note(is_taken=True)
        failures.note(is_taken=False)
    events = [record.getMessage() for record in caplog.records]
    assert events == ["trace_export_failing", "trace_export_failing", "trace_export_recovered"]


def test_exporter_logs_through_it_only(caplog: pytest.LogCaptureFixture) -> None:
    failures = FailureLog("/v1/traces")
    exporter, library = (
        logging.getLogger(f"opentelemetry.{name}") for name in ("exporter.otlp", "trace.span")
    )
    with caplog.at_level(logging.INFO):
        exporter.warning("Transient error %s", "refused" + "x" * 999)
        library.warning("Invalid key/value pair (%s) found.", "DOE^JANE")
        exporter.error("Failed to export, max retries")
        failures.note(is_taken=False)
    (record,) = caplog.records
    reason = record.__dict__["reason"]
    assert reason.startswith("Transient error refused")
    assert len(reason) == 300


def test_reason_has_no_path(caplog: pytest.LogCaptureFixture) -> None:
    failures = FailureLog("/ingest/T 0ken/v1/traces")
    said = "no /ingest/T 0ken/v1/traces: exceeded with url: /ingest/T%200ken/v1/traces (refused)"
    logging.getLogger("opentelemetry.exporter.otlp").error(said)
    failures.note(is_taken=False)
    (record,) = caplog.records
    assert record.__dict__["reason"] == "no PATH: exceeded with url: PATH (refused)"


@pytest.mark.parametrize(
    ("trusted", "is_taken"),
    [
        ({"OTEL_EXPORTER_OTLP_CERTIFICATE": "hospital.pem"}, True),
        ({}, False),
        # docs/tracing.md warns of this.
        ({"OTEL_EXPORTER_OTLP_CERTIFICATE": "hospital.pem", "CURL_CA_BUNDLE": "other.pem"}, False),
    ],
)
def test_collector_with_a_private_authority(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trusted: dict[str, str],
    is_taken: bool,
) -> None:
    authority, _ = (Authority(tmp_path, name) for name in ("hospital", "other"))
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OTEL_EXPORTER_OTLP_CERTIFICATE"):
        monkeypatch.delenv(variable, raising=False)
    for variable, name in trusted.items():
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)  # the exporter tries again at once
    with collector(authority.issue("server")) as found:
        export = SpanExport(f"{found.url}/v1/traces")
        with tracing(tracer_of(export).begin((), ())):
            stage("read").end()
        wait_until(lambda: export.n_exported + export.n_lost == 1)
        export.close()
    assert len(found.spans) == export.n_exported == int(is_taken)
    reasons = [record.__dict__["reason"] for record in caplog.records]
    assert is_taken or "certificate verify failed" in reasons[0]


@pytest.mark.parametrize(
    "url",
    [
        *("collector:4318", "http://", "http://collector:70000", "http://collector:0"),
        *("grpc://collector:4317", "ftp://me:Pa55word@collector", "http://[::1", ""),
        "https://me:Pa55word@collector",
        "https://collector/v1/traces?api_key=Pa55word",
        "https://collector/v1/traces#Pa55word",
    ],
)
def test_wrong_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError, match="OSTEO_TRACES_URL must") as caught:
        open_tracer(SecretStr(url), 1.0, 1.0, "model", None)
    assert "Pa55word" not in str(caught.value)
