"""ASGI middleware: gives each request an id, counts it, times it and logs one line."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.answer_headers import add_answer_headers
from app.api.auditing import Auditor
from app.api.problems import problem_response
from app.api.request_context import request_context
from app.api.request_tracing import QUIET_ROUTES, begin_trace, end_trace
from app.api.unrouted import route_of
from app.core.errors import NotReadyError, OsteoError
from app.telemetry.logs import LOGGER_NAME
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import tracing

_logger = logging.getLogger(LOGGER_NAME)


class ObserveRequests:
    """Observes every request; plain ASGI, so that bodies stream through untouched."""

    def __init__(self, app: ASGIApp, metrics: Metrics, auditor: Auditor) -> None:
        """Wrap an ASGI application."""
        self._app = app
        self._metrics = metrics
        self._auditor = auditor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = request_context(scope)
        begin_trace(scope, context)
        status = 500  # what is sent if the application sends nothing
        has_started = False

        async def send_observed(message: Message) -> None:
            nonlocal has_started, status
            if message["type"] == "http.response.start":
                has_started = True
                status = message["status"]
                add_answer_headers(scope, MutableHeaders(scope=message))
            await send(message)

        send_recorded = self._auditor.record_before(scope, send_observed)

        app = self._app
        if context.request_id_error is not None:
            app = problem_response(scope, context.request_id_error)
        try:
            with tracing(context.trace), self._auditor.noting_switches(scope):
                await app(scope, receive, send_recorded)
        except Exception:
            context.problem_code = OsteoError.code
            raise
        except asyncio.CancelledError:  # the drain is over
            if not has_started:
                error = NotReadyError("it has stopped before the request was answered")
                await problem_response(scope, error)(scope, receive, send_observed)
            raise
        finally:
            route = route_of(scope)
            record_request(self._metrics, scope, route, status)
            self._auditor.note_refusal(scope, route, status)


def record_request(metrics: Metrics, scope: Scope, route: str, status: int) -> None:
    """Count, time and log an answered request."""
    context = request_context(scope)
    duration_s = time.perf_counter() - context.received_at
    metrics.requests.labels(route, str(status)).inc()
    metrics.request_seconds.labels(route).observe(duration_s)
    if context.problem_code:
        metrics.request_problems.labels(context.problem_code).inc()
        context.log_fields["problem"] = context.problem_code
    level = logging.DEBUG if route in QUIET_ROUTES else logging.INFO
    if status >= 500 and level == logging.INFO:
        level = logging.ERROR
    _logger.log(
        level,
        "request",
        extra={
            "request_id": context.request_id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "duration_s": round(duration_s, 6),
            "caller": context.caller.name if context.caller else None,
            **context.log_fields,
            **end_trace(context, scope["method"], route, status),
        },
    )
