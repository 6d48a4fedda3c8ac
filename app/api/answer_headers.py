"""The headers that every answer carries."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Scope

from app.access.rate_limits import rate_limit_headers
from app.api.content_policy import NOTHING
from app.api.cross_origin import find_cross_origin
from app.api.request_context import REQUEST_ID_HEADER, request_context
from app.api.transport_security import add_transport_security

PLAIN_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": NOTHING,
    "X-Content-Type-Options": "nosniff",
}
"""Every answer has these, even one that no application sends: no cache may keep it, and no browser
may guess its type or run anything in it (RFC 9111, Fetch, CSP level 3)."""


def add_answer_headers(scope: Scope, headers: MutableHeaders) -> None:
    """Add the headers of every answer to those of the answer to a request.

    A page may have a policy of its own. Behind TLS a browser must not fall back to HTTP (RFC 6797).
    """
    context = request_context(scope)
    headers[REQUEST_ID_HEADER] = context.request_id
    for name, value in PLAIN_HEADERS.items():
        headers.setdefault(name, value)
    add_transport_security(scope, headers)
    if context.allowance is not None:
        headers.update(rate_limit_headers(context.allowance))
    origin = Headers(scope=scope).get("origin")
    find_cross_origin(scope["state"]).add_headers(headers, origin)
