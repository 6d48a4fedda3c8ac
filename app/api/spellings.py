"""ASGI middleware: every route answers HEAD, and its path with a slash at the end.

A redirect would need the scheme and host that the client used, which the service does not know
behind an ingress, and a client that streams its body cannot send it twice.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def canonical_path(path: str) -> str:
    """The path without slashes at its end; `/` stays."""
    return path.rstrip("/") or "/"


class ServeSpellings:
    """Serves `/v1/classify/` as `/v1/classify`, and HEAD as GET without the body."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an ASGI application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = canonical_path(scope["path"])
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send_without_body)
        finally:
            scope["route"] = as_get.get("route")  # for logs and metrics
