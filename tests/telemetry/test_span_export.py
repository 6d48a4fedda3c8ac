"""What is logged while a collector does not take spans."""

from __future__ import annotations

import logging

import pytest

from app.core.errors import SettingsError
from app.telemetry.open_tracing import open_tracer
from app.telemetry.span_export import FailureLog
from tests.telemetry.test_tracing import Clock


def test_failures_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    failures = FailureLog(clock)
    with caplog.at_level(logging.INFO, "osteo"):
        for clock.now_s in (0.0, 1.0, 59.0, 61.0, 62.0):
            failures.note(is_taken=False)
        failures.note(is_taken=True)
        failures.note(is_taken=True)
        failures.note(is_taken=False)
    events = [record.getMessage() for record in caplog.records]
    assert events == ["trace_export_failing", "trace_export_failing", "trace_export_recovered"]


def test_exporter_logs_through_it_only(caplog: pytest.LogCaptureFixture) -> None:
    failures = FailureLog()
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


@pytest.mark.parametrize(
    "url",
    [
        *("collector:4318", "http://", "http://collector:70000", "http://collector:0"),
        *("grpc://collector:4317", "ftp://me:Pa55word@collector", "http://[::1", ""),
        "https://me:Pa55word@collector",
    ],
)
def test_wrong_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError, match="OSTEO_TRACES_URL must") as caught:
        open_tracer(url, 1.0, 1.0, "model", None)
    assert "Pa55word" not in str(caught.value)
