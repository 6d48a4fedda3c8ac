"""What the routes that take tiles share: read a body in time, work while the client is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.api.schemas import TileResult
from app.api.uploads import TILE_FIELD
from app.core.errors import UploadTimeoutError
from app.server.tile_protocol import EXPECTED
from app.serving.service import TileService
from app.settings import Settings

BINARY: Final = {"type": "string", "format": "binary"}
_IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/tiff", "image/webp")
_Answer = TypeVar("_Answer")


class TileRoute(APIRoute):
    """Calls its endpoint at once where there is no query: every parameter then has its default.

    Dependency injection, which would find out the same, costs an eighth of HTTP's share of a tile.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request that has been routed here."""
        if scope["query_string"] or scope["method"] != "POST":
            await super().handle(scope, receive, send)
            return
        response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


@asynccontextmanager
async def reading(
    request: Request, service: TileService, settings: Settings
) -> AsyncIterator[None]:
    """Read a body in here: in time, and not at all if its tiles would be refused.

    Raises:
        NotReadyError: no model is loaded.
        QueueFullError: its tiles would be refused.
        UploadTimeoutError: the body took too long.
    """
    service.require_model()
    # Where the door has let it in, it is expected already.
    end_expecting = getattr(request.state, EXPECTED, None) or service.admission.expect()
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            yield
    except TimeoutError:
        raise UploadTimeoutError(settings.body_timeout_s) from None
    finally:
        # In the next turn right before the tile is admitted: between turns others come in.
        asyncio.get_running_loop().call_soon(end_expecting)


async def while_connected(request: Request, work: Awaitable[_Answer]) -> _Answer:
    """Await `work`, but give it up when the client goes away; the body must have been read.

    Raises:
        ClientDisconnect: nobody waits for the answer any more.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))  # its room in the queue is free again


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def json_response(content: str) -> Response:
    """An answer that is JSON already."""
    # The answer is a validated model already; FastAPI would validate and serialise it once more.
    return Response(content, media_type="application/json")


def log_fields(result: TileResult) -> dict[str, Any]:
    """What the log line of one tile says; never a name."""
    return {
        "model_version": result.model.version,
        "tile_sha256": result.tile.sha256,
        **dict(result.timing),
    }


def one_tile_body() -> dict[str, Any]:
    """The OpenAPI fragment of a body with one tile."""
    form = {"type": "object", "required": [TILE_FIELD], "properties": {TILE_FIELD: BINARY}}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            **{media_type: {"schema": BINARY} for media_type in _IMAGE_TYPES},
        },
    }
