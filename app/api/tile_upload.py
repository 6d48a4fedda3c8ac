"""What the routes that take tiles share: receive the body in time, cancel work on disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.api.request_context import request_context
from app.api.schemas import ClassifyAnswer
from app.api.upload_pace import UploadPace
from app.api.uploads import read_tile, read_tiles
from app.core.errors import TileError
from app.inference.results import TileResult
from app.serving.service import TileService
from app.settings import Settings
from app.telemetry.tracing import stage

Value = TypeVar("Value")


class TileRequests:
    """Receives the tiles of requests, within the limits of the settings."""

    def __init__(self, service: TileService, settings: Settings) -> None:
        """Use the queue and the upload budget of a service."""
        self._service = service
        self._settings = settings
        self._pace = UploadPace(settings)

    async def process_one(
        self, request: Request, work: Callable[[bytes], Awaitable[Value]]
    ) -> Value:
        """Receive the one tile of a request and await `work` on it.

        Raises:
            NotReadyError: no model is loaded.
            QueueFullError: the queue is full; the body is not read.
            UploadTimeoutError: the body did not arrive in time, or too slowly.
            ClientDisconnect: the client disconnected, so `work` was cancelled.
            OsteoError: what `read_tile` and `work` raise.
        """
        limit_bytes = self._settings.max_tile_bytes
        with self._service.track_upload() as take:
            with stage("read"):
                tile_bytes = await self._receive(
                    request, lambda request: read_tile(request, limit_bytes, take)
                )
            request_context(request.scope).log_fields["n_tiles"] = 1
            return await _cancel_on_disconnect(request, work(tile_bytes))

    async def process_several(
        self, request: Request, work: Callable[[list[bytes | TileError]], Awaitable[list[Value]]]
    ) -> list[tuple[str | None, Value]]:
        """Receive the tiles of a batch and await `work` on them; raises what `process_one` does.

        Returns:
            By tile, the client's name of its file, and what `work` returns.
        """
        limits = self._settings
        with self._service.track_upload() as take:
            with stage("read"):
                tiles = await self._receive(
                    request,
                    lambda request: read_tiles(
                        request,
                        limits.max_tile_bytes,
                        limits.max_request_bytes,
                        limits.max_request_tiles,
                        take,
                    ),
                )
            request_context(request.scope).log_fields["n_tiles"] = len(tiles)
            contents = [tile.content for tile in tiles]
            values = await _cancel_on_disconnect(request, work(contents))
            return [(tile.file_name, value) for tile, value in zip(tiles, values, strict=True)]

    async def _receive(
        self, request: Request, read: Callable[[Request], Awaitable[Value]]
    ) -> Value:
        """Await `read` with a reserved place in the queue, while the body arrives fast enough."""
        reserved = request_context(request.scope).release_place  # by the connection
        release = reserved or self._service.reserve_place()
        try:
            async with self._pace.enforce() as count:

                async def receive() -> Message:
                    message = await request.receive()
                    count(len(message.get("body", b"")))  # before it is decompressed
                    return message

                return await read(Request(request.scope, receive))
        finally:
            # Runs right before the task that admits the tile, so that no other request can take
            # the place in between.
            asyncio.get_running_loop().call_soon(release)


async def _cancel_on_disconnect(request: Request, work: Awaitable[Value]) -> Value:
    """Await `work`, but cancel it if the client disconnects; the body must have been read.

    Raises:
        ClientDisconnect: the client disconnected first.
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
            await asyncio.wait((working,))  # until its place in the queue is free


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def classify_response(request: Request, result: TileResult) -> Response:
    """Note the result of one tile and answer with it."""
    note_result(request, result)
    with stage("encode"):
        request_id = request_context(request.scope).request_id
        answer = ClassifyAnswer(request_id=request_id, **dict(result))
        return json_response(answer.model_dump_json())


def json_response(content: str) -> Response:
    """Answer with the JSON of a validated model, which FastAPI would validate once more."""
    return Response(content, media_type="application/json")


def note_result(request: Request, result: TileResult) -> None:
    """Note the result of one tile for the audit and the log line of its request."""
    context = request_context(request.scope)
    context.results.append((None, result))
    context.log_fields.update(
        model_version=result.model.version,
        tile_sha256=result.tile.sha256,
        **dict(result.timing),
    )
