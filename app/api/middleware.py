"""One ASGI middleware that gives each request an id, counts it, times it and logs one line."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.telemetry.logs import LOGGER_NAME
from app.telemetry.metrics import Metrics

REQUEST_ID_HEADER: Final = "X-Request-ID"
BEGAN: Final = "began"
"""Where a connection leaves, in a request's state, when its head was read (`time.perf_counter`)."""
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# Probes and scrapes come every few seconds from every replica; as lines they would bury the rest.
_QUIET_ROUTES: Final = frozenset({"/livez", "/readyz", "/metrics"})

_logger = logging.getLogger(LOGGER_NAME)


class ObserveRequests:
    """Pure ASGI, so that bodies stream through untouched.

    A route leaves what belongs into the line in `request.state.log`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap an ASGI application."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = begin(scope)
        status = 500  # what the server answers if nothing else is sent

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        finally:
            # The route is the router's; without one the path is anybody's text.
            route = getattr(scope.get("route"), "path", "unmatched")
            record(self._metrics, scope, route, status)


def begin(scope: Scope) -> str:
    """Give a request its id and an empty log line, both in its state; returns the id."""
    state = scope.setdefault("state", {})
    state.setdefault(BEGAN, time.perf_counter())
    state["log"] = {}
    state["request_id"] = request_id = _request_id(Headers(scope=scope))
    return request_id


def record(metrics: Metrics, scope: Scope, route: str, status: int) -> None:
    """Count, time and log a request that has begun and is answered."""
    state = scope["state"]
    duration_s = time.perf_counter() - state[BEGAN]
    log: dict[str, Any] = state["log"]
    metrics.requests.labels(route, str(status)).inc()
    metrics.request_seconds.labels(route).observe(duration_s)
    problem = state.get("problem")
    if problem is not None:
        metrics.request_problems.labels(problem).inc()
        log["problem"] = problem
    level = logging.DEBUG if route in _QUIET_ROUTES else logging.INFO
    if status >= 500 and level == logging.INFO:
        level = logging.ERROR
    _logger.log(
        level,
        "request",
        extra={
            "request_id": state["request_id"],
            "method": scope["method"],
            "route": route,
            "status": status,
            "duration_s": round(duration_s, 6),
            **log,
        },
    )


def _request_id(headers: Headers) -> str:
    """The caller's id where it is fit for a log line, else a new one."""
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
