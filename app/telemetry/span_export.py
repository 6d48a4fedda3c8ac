"""Export spans to an OpenTelemetry collector; what it does not take delays and fails nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from app.telemetry.logs import LOGGER_NAME

MAX_WAITING_SPANS: Final = 4096
"""Some 600 tiles, in 8 MiB."""
FLUSH_WITHIN_S: Final = 1.0
"""How long the end of the service waits for the collector."""
_MAX_BATCH_SPANS: Final = 512
_POST_WITHIN_S: Final = 5.0
"""Retries included."""
_LOG_EVERY_S: Final = 60.0
_MAX_REASON: Final = 300
_logger = logging.getLogger(LOGGER_NAME)


class SpanExport:
    """Sends spans in batches from a thread of its own.

    Attributes:
        n_exported: spans that the collector took.
        n_lost: spans that it did not take, or that came while the buffer was full.
    """

    def __init__(self, url: str) -> None:
        """Start the thread.

        Args:
            url: of the collector, with the path. Headers, such as a token, and certificates come
                from the standard variables `OTEL_EXPORTER_OTLP_*`; the period from
                `OTEL_BSP_SCHEDULE_DELAY`.
        """
        self.n_exported = self.n_lost = 0
        self._n_waiting = 0
        self._lock = threading.Lock()
        self._failures = FailureLog()
        self._processor = BatchSpanProcessor(
            _CountedExporter(
                OTLPSpanExporter(endpoint=url, timeout=_POST_WITHIN_S), self._note_batch
            ),
            # `put` keeps to a lower limit, and counts what it drops.
            max_queue_size=2 * MAX_WAITING_SPANS,
            max_export_batch_size=_MAX_BATCH_SPANS,
        )

    @property
    def n_waiting(self) -> int:
        """Spans that wait, or are being sent."""
        return self._n_waiting

    def put(self, span: ReadableSpan) -> None:
        """Take a span, or drop it if the buffer is full; any thread may call it."""
        with self._lock:
            if self._n_waiting >= MAX_WAITING_SPANS:
                self.n_lost += 1
                return
            self._n_waiting += 1
        self._processor.on_end(span)

    def close(self) -> None:
        """Send what waits, for at most `FLUSH_WITHIN_S` seconds."""
        # The processor itself would wait for half a minute.
        closing = threading.Thread(target=self._processor.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(FLUSH_WITHIN_S)
        n_left = self._n_waiting
        if n_left:
            _logger.warning("trace_spans_lost", extra={"n_spans": n_left})

    def _note_batch(self, n_spans: int, *, is_taken: bool) -> None:
        with self._lock:
            self._n_waiting -= n_spans
            self.n_exported += n_spans if is_taken else 0
            self.n_lost += 0 if is_taken else n_spans
        self._failures.note(is_taken=is_taken)


class _CountedExporter(SpanExporter):
    """Tells how each batch ended."""

    def __init__(self, exporter: SpanExporter, note: Callable[..., None]) -> None:
        self._exporter, self._note = exporter, note

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self._note(len(spans), is_taken=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class FailureLog(logging.Handler):
    """Logs that the collector takes nothing, at most once a minute, and that it does again.

    The exporter logs each try, and says only in its log why one failed. Its log ends here; the
    headers of requests are in it too, as in a warning about a wrong `tracestate`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._reason = ""
        self._logged_at: float | None = None
        self._is_failing = False
        library = logging.getLogger("opentelemetry")
        library.handlers, library.propagate = [self], False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what the exporter says."""
        if record.name.startswith("opentelemetry.exporter") and record.exc_info is None:
            said = record.getMessage()[:_MAX_REASON]
            # The last line of several tries says only that they are over.
            self._reason = self._reason if "max retries" in said and self._reason else said

    def note(self, *, is_taken: bool) -> None:
        """Log a change, within the limit."""
        now = self._clock()
        if is_taken:
            if self._is_failing:
                _logger.info("trace_export_recovered")
            self._is_failing, self._reason = False, ""
        elif self._logged_at is None or now - self._logged_at >= _LOG_EVERY_S:
            _logger.warning("trace_export_failing", extra={"reason": self._reason})
            self._logged_at, self._is_failing = now, True
