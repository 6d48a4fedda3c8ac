"""Prometheus metrics: prefix `osteo_`, base units, labels with a bounded set of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from app.telemetry.logs import n_dropped_log_lines
from app.telemetry.watched import WatchedCounter, WatchedGauge, WatchedLabels

# A tile takes 10 ms on one core.
_SECONDS_BUCKETS: Final = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0),
)
_PROBABILITY_BUCKETS: Final = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_DISTANCE_BUCKETS: Final = (
    *(0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25),
    *(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0),
)
_BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64)

_Kind = TypeVar("_Kind", WatchedCounter, WatchedGauge)


class Metrics:
    """All metrics of one service, on their own registry so that a process can have several."""

    def __init__(self) -> None:
        """Create the metrics, all at zero."""
        # A creation time for every counter would double the output.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client has no type for it
        self.registry = CollectorRegistry()
        # They register themselves. The process collector has start time, memory and CPU time.
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.requests = self._counter(
            "osteo_requests", "HTTP requests, by route and status.", "route", "status"
        )
        self.request_seconds = self._histogram(
            "osteo_request_seconds",
            "Seconds from the end of a request's headers to the last byte of its response.",
            "route",
        )
        self.stage_seconds = self._histogram(
            "osteo_stage_seconds",
            "Seconds that a tile spent in each stage: decode, queue, inference.",
            "stage",
        )
        # Cached, because looking a label up takes longer than counting.
        self._decode_seconds, self._queue_seconds, self._inference_seconds = (
            self.stage_seconds.labels(stage) for stage in ("decode", "queue", "inference")
        )
        self.predictions = self._counter(
            "osteo_predictions", "Classified tiles, by predicted label.", "label"
        )
        self.reviews = self._counter(
            "osteo_reviews",
            "Answers sent to review, by reason; an answer may have several.",
            "reason",
        )
        self.reviewed_tiles = self._counter(
            "osteo_reviewed_tiles", "Answers sent to review, for any reason."
        )
        self.probability = self._histogram(
            "osteo_probability",
            "Probability of the predicted label.",
            buckets=_PROBABILITY_BUCKETS,
        )
        self.distance = self._histogram(
            "osteo_distance",
            "Distance of a tile's embedding from the training tiles.",
            buckets=_DISTANCE_BUCKETS,
        )
        self._drift = self._gauge(
            "osteo_population_stability_index",
            "Population stability index of recent answers; NaN below 100 tiles.",
            "quantity",
        )
        self.tile_problems = self._counter(
            "osteo_tile_problems", "Tiles that could not be classified, by problem.", "problem"
        )
        self.request_problems = self._counter(
            "osteo_request_problems",
            "Requests that got a problem response, by problem.",
            "problem",
            from_zero=("slides-full", "disk-full"),
        )
        self.access_refusals = self._counter(
            "osteo_access_refusals",
            "Requests refused because of their caller, by reason.",
            "reason",
            from_zero=("unknown", "signature"),
        )
        self.access_open = self._gauge(
            "osteo_access_open", "1 if everybody may call, 0 if callers are identified."
        )
        self.key_expiry = self._watched(
            WatchedGauge,
            "osteo_key_expiry_timestamp_seconds",
            "Time at which the next API key expires, in seconds since 1970; no value if none will.",
        )
        self.certificate_expiry = self._watched(
            WatchedGauge,
            "osteo_tls_certificate_expiry_timestamp_seconds",
            "Time at which the server's TLS certificate expires, in seconds since 1970; no value "
            "without TLS.",
        )
        self.identity_provider_fetches = self._watched(
            WatchedCounter,
            "osteo_identity_provider_fetches",
            "Fetches of the identity provider's keys; no value without one.",
        )
        self.identity_provider_failures = self._watched(
            WatchedCounter,
            "osteo_identity_provider_failures",
            "Fetches of the identity provider's keys that failed; no value without one.",
        )
        self.rate_limit_storage_failures = self._watched(
            WatchedCounter,
            "osteo_rate_limit_storage_failures",
            "Requests that were not counted because Redis did not answer; no value without Redis.",
        )
        self.audit_records = self._watched(
            WatchedCounter,
            "osteo_audit_records",
            "Records written to the audit; no value if it is off.",
        )
        self.audit_records_dropped = self._watched(
            WatchedCounter,
            "osteo_audit_records_dropped",
            "Records that the audit lost; no value if it is off.",
        )
        self.audit_records_waiting = self._watched(
            WatchedGauge,
            "osteo_audit_records_waiting",
            "Records that wait to be written; no value if the audit is off.",
        )
        self.audit_failing = self._watched(
            WatchedGauge,
            "osteo_audit_failing",
            "1 while the audit cannot be written, else 0; no value if it is off.",
        )
        self.audit_head = WatchedLabels(
            "osteo_audit_head_sequence",
            "Number of the record whose hash was logged last; no value if the audit is off.",
            ("chain", "hash"),
        )
        self.registry.register(self.audit_head)
        self.trace_spans, self.trace_spans_lost = (
            self._watched(
                WatchedCounter,
                "osteo_trace_spans",
                "Spans that the collector has taken; no value if tracing is off.",
            ),
            self._watched(
                WatchedCounter,
                "osteo_trace_spans_lost",
                "Spans that the collector did not take; no value if tracing is off.",
            ),
        )
        self._watched(
            WatchedCounter,
            "osteo_log_lines_dropped",
            "Log lines dropped because their reader did not take them.",
        ).read = n_dropped_log_lines
        self.model_swaps = self._counter(
            "osteo_model_swaps", "Attempts to activate a version, by outcome.", "outcome"
        )
        self.inference_failures = self._counter(
            "osteo_inference_failures", "Tiles for which the model returned no usable answer."
        )
        self.batch_tiles = self._histogram(
            "osteo_batch_tiles", "Tiles in a micro-batch, before padding.", buckets=_BATCH_BUCKETS
        )
        self.tiles_in_flight = self._gauge(
            "osteo_tiles_in_flight", "Tiles that wait or are being classified."
        )
        self.tiles_waiting = self._gauge("osteo_tiles_waiting", "Tiles that wait for a worker.")
        self.upload_bytes = self._gauge("osteo_upload_bytes", "Bytes of uploads in memory.")
        self.slide_jobs, self.slide_tiles = (
            self._gauge("osteo_slide_jobs", "Jobs on whole slides, by state.", "state"),
            self._counter(
                "osteo_slide_tiles", "Tiles of whole slides that this service has classified."
            ),
        )
        self.ready = self._gauge("osteo_ready", "1 while /readyz answers 200, else 0.")
        self._model_info = self._gauge(
            "osteo_model_info",
            "1, with the model that is served as labels.",
            *("model_name", "model_version", "bundle_sha256", "runtime", "precision", "device"),
        )

    def set_model(self, *labels: str) -> None:
        """Set the served model, with label values in the order of `osteo_model_info`."""
        self._model_info.clear()
        self._model_info.labels(*labels).set(1)

    def set_certificate_expiry(self, timestamp_s: float) -> None:
        """Set when the server's TLS certificate expires, in seconds since 1970 (UTC)."""
        self.certificate_expiry.read = lambda: timestamp_s

    def watch_drift(self, quantity: str, index: Callable[[], float]) -> None:
        """Register a function that computes a quantity's stability index on every scrape."""
        self._drift.labels(quantity).set_function(index)

    def observe_answer(
        self, label: str, probability: float, distance: float | None, reasons: Sequence[str]
    ) -> None:
        """Count one answer with its reasons for review."""
        self.predictions.labels(label).inc()
        self.probability.observe(probability)
        if distance is not None:
            self.distance.observe(distance)
        for reason in reasons:
            self.reviews.labels(reason).inc()
        if reasons:
            self.reviewed_tiles.inc()

    def observe_timing(self, *, decode_s: float, queue_s: float, inference_s: float) -> None:
        """Record the times of one classified tile, in seconds."""
        self._decode_seconds.observe(decode_s)
        self._queue_seconds.observe(queue_s)
        self._inference_seconds.observe(inference_s)

    def render(self) -> bytes:
        """Render the exposition text that Prometheus scrapes."""
        return generate_latest(self.registry)

    def _counter(
        self, name: str, documentation: str, *labels: str, from_zero: Sequence[str] = ()
    ) -> Counter:
        """Create a counter; `from_zero` has values of its label that are exported at once.

        A series that begins at 1 has not increased for Prometheus, so an alert on few events needs
        the 0.
        """
        counter = Counter(name, documentation, labels, registry=self.registry)
        for value in from_zero:
            counter.labels(value)
        return counter

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, labels, registry=self.registry)

    def _histogram(
        self,
        name: str,
        documentation: str,
        *labels: str,
        buckets: Sequence[float] = _SECONDS_BUCKETS,
    ) -> Histogram:
        return Histogram(name, documentation, labels, registry=self.registry, buckets=buckets)

    def _watched(self, kind: type[_Kind], name: str, documentation: str) -> _Kind:
        watched = kind(name, documentation)
        self.registry.register(watched)
        return watched
