"""Refusals while the queue is full, before the application has spent anything on the request.

A crowd that is turned away must not cost what the tiles of others need: this answers with half the
work of the way through routing, parameters and exception handlers to the same answer.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.errors import QueueFullError
from app.problems import problem_response
from app.scheduling import Admission

TILE_PATHS: Final = frozenset({"/v1/classify", "/v1/classify/batch", "/v1/explain"})
"""Routes that take tiles; a test holds them against the application's."""


class RefuseWhenFull:
    """ASGI middleware; the routes ask again, since a queue may fill up while a body arrives."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        """Wrap an ASGI application."""
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] in TILE_PATHS and scope["method"] == "POST":
            try:
                self._admission.require_room()
            except QueueFullError as error:
                scope["state"]["route"] = scope["path"]  # no router has seen it
                refusal = problem_response(Request(scope), error)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
