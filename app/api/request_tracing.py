"""The span of a request: begun when its path is known, ended with its log line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers
from starlette.types import Scope

from app.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from app.api.request_context import RequestContext
    from app.telemetry.request_traces import Tracer

QUIET_ROUTES: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""Replicas are probed and scraped every few seconds, which would bury other lines and traces."""
_STATE_KEY: Final = "tracer"
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_LOGGED: Final = {
    "n_tiles": "osteo.n_tiles",
    "n_problems": "osteo.n_problems",
    "model_version": "osteo.model.version",
    "job": "osteo.job_id",
}
"""Fields of the log line that are attributes too. None of them is a caller's text."""


def tracer_state(tracer: Tracer | None) -> dict[str, Any]:
    """The state that the application's lifespan shares with all requests."""
    return {} if tracer is None else {_STATE_KEY: tracer}


def watch_traces(metrics: Metrics, tracer: Tracer | None) -> None:
    """Read on every scrape how the export does; no values if tracing is off."""
    if tracer is not None:
        export = tracer.export
        metrics.trace_spans.read = lambda: export.n_exported
        metrics.trace_spans_lost.read = lambda: export.n_lost


def begin_trace(scope: Scope, context: RequestContext) -> None:
    """Begin the trace of a request, if tracing is on and the request is no probe."""
    tracer: Tracer | None = scope["state"].get(_STATE_KEY)
    if tracer is None or context.trace is not None or scope["path"] in QUIET_ROUTES:
        return
    headers = Headers(scope=scope)
    context.trace = tracer.begin(headers.getlist("traceparent"), headers.getlist("tracestate"))


def end_trace(context: RequestContext, method: str, route: str, status: int) -> Mapping[str, Any]:
    """End the trace of an answered request.

    The span has no path, query, address or header of the caller: they may name a patient, or hold
    a key. The request's id is the caller's, and names nobody (docs/http.md).

    Args:
        context: of the request.
        method: of the request.
        route: its path as the route has it, with its parameters' names.
        status: of the answer.

    Returns:
        The fields of its log line.
    """
    trace = context.trace
    if trace is None:
        return {}
    trace.is_over = True
    if trace.is_sampled:
        method = method if method in _METHODS else "_OTHER"
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "osteo.request_id": context.request_id,
        }
        if context.problem_code:
            attributes["osteo.problem"] = context.problem_code
        fields = context.log_fields
        attributes |= {name: fields[key] for key, name in _LOGGED.items() if key in fields}
        error = (context.problem_code or str(status)) if status >= 500 else None
        name = f"{'HTTP' if method == '_OTHER' else method} {route}"
        trace.end(name, context.received_at, attributes, error)
    return trace.log_fields
