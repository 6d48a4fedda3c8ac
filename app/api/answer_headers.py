"""The headers that every answer carries."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Scope

from app.access.rate_limits import rate_limit_headers
from app.api.content_policy import NOTHING
from app.api.cross_origin import find_cross_origin
from app.api.request_context import REQUEST_ID_HEADER, request_context
from app.api.transport_security import add_transport_security


def add_answer_headers(scope: Scope, headers: MutableHeaders) -> None:
    """Add the headers of every answer to those of the answer to a request.

    No cache may keep an answer, no browser may guess its type or run anything in it, and behind
    TLS a browser must not fall back to HTTP (RFC 9111, Fetch, CSP level 3, RFC 6797).
    """
    context = request_context(scope)
    headers[REQUEST_ID_HEADER] = context.request_id
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("Content-Security-Policy", NOTHING)
    headers["X-Content-Type-Options"] = "nosniff"
    add_transport_security(scope, headers)
    if context.allowance is not None:
        headers.update(rate_limit_headers(context.allowance))
    origin = Headers(scope=scope).get("origin")
    find_cross_origin(scope["state"]).add_headers(headers, origin)
