"""Traces of requests with OpenTelemetry: their ids, which are sampled, and their spans."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.telemetry.span_export import SpanExport
from app.telemetry.tracing import EndedSpan, new_span_id

_TRACE_ID_BITS: Final = 128
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)
_NO_ERROR: Final = Status(StatusCode.UNSET)
_FAILED: Final = Status(StatusCode.ERROR)
_PROPAGATOR: Final = TraceContextTextMapPropagator()

_Headers = Mapping[str, Sequence[str]]


class RequestTrace:
    """The span of a request and those below it; see `app.telemetry.tracing.Trace`.

    A span becomes one object when it is over. The spans of the SDK cost ten times as much
    (docs/decisions/0080-tracing.md).
    """

    __slots__ = ("_context", "_epoch_ns", "_parent", "_put", "_source", "is_over", "is_sampled")

    def __init__(
        self,
        context: SpanContext,
        parent: SpanContext | None,
        source: tuple[Resource, InstrumentationScope],
        put: Callable[[ReadableSpan], None],
    ) -> None:
        """Begin.

        Args:
            context: ids of the request's own span, and whether it is sampled.
            parent: the caller's span, if it sent one.
            source: of the spans.
            put: takes spans for export.
        """
        self._context, self._parent = context, parent
        self._source, self._put = source, put
        self.is_sampled = context.trace_flags.sampled
        self.is_over = False
        # All spans of a trace are timed by one clock, which nobody sets meanwhile.
        self._epoch_ns = time.time_ns() - time.perf_counter_ns()

    @property
    def log_fields(self) -> Mapping[str, str | bool]:
        """The ids as the collector shows them, and whether it gets this trace."""
        return {
            "trace_id": format_trace_id(self._context.trace_id),
            "span_id": format_span_id(self._context.span_id),
            "trace_sampled": self.is_sampled,
        }

    def headers(self, span_id: int | None = None) -> dict[str, str]:
        """See `Trace.headers`."""
        context = self._context
        ids = format_trace_id(context.trace_id), format_span_id(span_id or context.span_id)
        found = {"traceparent": f"00-{ids[0]}-{ids[1]}-{context.trace_flags:02x}"}
        return found | ({"tracestate": state} if (state := context.trace_state.to_header()) else {})

    def record(self, span: EndedSpan) -> None:
        """Hand a span below the request's over; the trace must be sampled."""
        own = self._context
        context = SpanContext(own.trace_id, span.span_id, False, _SAMPLED, own.trace_state)
        kind = SpanKind.CLIENT if span.is_call else SpanKind.INTERNAL
        self._export(context, own, span, kind)

    def end(
        self, name: str, started_s: float, attributes: dict[str, str | int], error: str | None
    ) -> None:
        """End the request's own span; the trace must be sampled.

        Args:
            name: method and route.
            started_s: when the request's headers were complete (`time.perf_counter`).
            attributes: of the request and its answer.
            error: what made the service fail; None if nothing did.
        """
        started_ns, ended_ns = round(started_s * 1e9), time.perf_counter_ns()
        own = EndedSpan(name, self._context.span_id, started_ns, ended_ns, attributes, error)
        self._export(self._context, self._parent, own, SpanKind.SERVER)

    def _export(
        self, context: SpanContext, parent: SpanContext | None, span: EndedSpan, kind: SpanKind
    ) -> None:
        attributes = span.attributes
        if span.error is not None:
            attributes["error.type"] = span.error
        resource, scope = self._source
        self._put(
            ReadableSpan(
                span.name,
                context,
                parent,
                resource,
                attributes,
                kind=kind,
                status=_NO_ERROR if span.error is None else _FAILED,
                start_time=self._epoch_ns + span.started_ns,
                end_time=self._epoch_ns + span.ended_ns,
                instrumentation_scope=scope,
            )
        )


class Tracer:
    """Begins the traces of requests; used from the event loop only.

    A caller decides whether its request is sampled (W3C Trace Context); `share` decides about
    requests without a parent. `max_per_s` bounds both, and so what callers can make tracing cost.
    """

    def __init__(
        self,
        resource: Mapping[str, str],
        share: float,
        max_per_s: float,
        export: SpanExport,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin no trace yet.

        Args:
            resource: attributes of this service.
            share: of the requests without a parent, in [0, 1].
            max_per_s: sampled requests per second, over a second.
            export: takes the spans.
            clock: seconds, monotonic.
        """
        self.export = export
        version = resource.get("service.version", "")
        self._source = Resource.create(dict(resource)), InstrumentationScope("osteo-tiles", version)
        self._bound = TraceIdRatioBased.get_bound_for_rate(share)
        self._max_per_s, self._clock = max_per_s, clock
        self._left, self._left_at = max(1.0, max_per_s), clock()

    def begin(self, traceparents: Sequence[str], tracestates: Sequence[str]) -> RequestTrace:
        """Begin the trace of a request, or go on with that of its caller.

        Args:
            traceparents: values of its headers `traceparent`; several are none, as are wrong ones.
            tracestates: values of its headers `tracestate`.
        """
        parent = _parent_of(traceparents, tracestates)
        trace_id = random.getrandbits(_TRACE_ID_BITS) or 1
        if parent is not None:
            trace_id, is_wanted = parent.trace_id, parent.trace_flags.sampled
        else:
            is_wanted = trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < self._bound
        flags = _SAMPLED if is_wanted and self._take() else _NOT_SAMPLED
        state = None if parent is None else parent.trace_state
        context = SpanContext(trace_id, new_span_id(), False, flags, state)
        return RequestTrace(context, parent, self._source, self.export.put)

    def _take(self) -> bool:
        """Take one of the requests of this second."""
        now = self._clock()
        earned = (now - self._left_at) * self._max_per_s
        self._left, self._left_at = min(self._left + earned, max(1.0, self._max_per_s)), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class _Lists(Getter[_Headers]):
    """Finds headers by their name in lower case."""

    def get(self, carrier: _Headers, key: str) -> list[str] | None:
        return list(carrier.get(key, ())) or None

    def keys(self, carrier: _Headers) -> list[str]:
        return list(carrier)


_LISTS: Final = _Lists()


def _parent_of(traceparents: Sequence[str], tracestates: Sequence[str]) -> SpanContext | None:
    """The caller's span; None if it sent none, or not one that the standard knows."""
    if len(traceparents) != 1:
        return None
    carrier = {"traceparent": traceparents, "tracestate": tracestates}
    found = get_current_span(_PROPAGATOR.extract(carrier, getter=_LISTS)).get_span_context()
    return found if found.is_valid else None
