"""ASGI middleware: answers the question of a browser whether a page may send a request."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.access_control import API_KEY_HEADER
from app.api.cross_origin import find_cross_origin, is_preflight
from app.api.problems import problem_response
from app.api.request_context import REQUEST_ID_HEADER
from app.api.tus import TUS_REQUEST_HEADERS
from app.core.header_errors import OriginDeniedError

_ANSWER: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    # Upload libraries send Cache-Control and X-Requested-With by themselves.
    "Access-Control-Allow-Headers": f"Authorization, {API_KEY_HEADER}, Content-Encoding, "
    f"Content-Range, Content-Type, {REQUEST_ID_HEADER}, Cache-Control, X-Requested-With, "
    "traceparent, tracestate, "
    f"{', '.join(TUS_REQUEST_HEADERS)}",
    "Access-Control-Max-Age": "600",
}


class AnswerPreflights:
    """Answers preflight requests; without allowed origins the routes do, with 405."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an ASGI application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        answer = self._answer(scope) if is_preflight(scope) else None
        await (answer or self._app)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response | None:
        cross_origin = find_cross_origin(scope["state"])
        if not cross_origin.is_on:
            return None
        if not cross_origin.allows(Headers(scope=scope)["origin"]):
            return problem_response(scope, OriginDeniedError())
        return Response(status_code=204, headers=_ANSWER)
