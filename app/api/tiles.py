"""Routes that classify tiles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from app.api.uploads import TILE_FIELD, TILES_FIELD, read_tile, read_tiles
from app.core.errors import OsteoError, UploadTimeoutError
from app.problems import openapi_responses, problem_of
from app.schemas import BatchAnswer, BatchItem, ClassifyAnswer, TileResult
from app.service import TileService
from app.settings import Settings

_BINARY: Final = {"type": "string", "format": "binary"}
_IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/tiff", "image/webp")
_Answer = TypeVar("_Answer")


def build_router(service: TileService, settings: Settings) -> APIRouter:
    """The routes, bound to a service."""
    router = APIRouter(prefix="/v1", tags=["tiles"])

    @asynccontextmanager
    async def reading() -> AsyncIterator[None]:
        """Read a body in here: in time, and not at all if its tiles would be refused."""
        service.require_model()
        try:
            with service.admission.expect():
                async with asyncio.timeout(settings.body_timeout_s):
                    yield
        except TimeoutError:
            raise UploadTimeoutError(settings.body_timeout_s) from None

    @router.post(
        "/classify",
        response_model=ClassifyAnswer,
        responses=openapi_responses(400, 408, 413, 415, 422, 429, 500, 503),
        openapi_extra={"requestBody": _one_tile_body()},
    )
    async def classify(request: Request) -> Response:
        """Classify one tile, sent as multipart field `file` or as the raw body."""
        with service.uploads.account() as take:
            async with reading():
                tile_bytes = await read_tile(request, settings.max_tile_bytes, take)
            request.state.log["n_tiles"] = 1
            result = await _while_connected(request, service.classify(tile_bytes))
        request.state.log.update(_log_fields(result))
        answer = ClassifyAnswer(request_id=request.state.request_id, **dict(result))
        return _json(answer.model_dump_json())

    @router.post(
        "/classify/batch",
        response_model=BatchAnswer,
        responses=openapi_responses(400, 408, 413, 422, 429, 500, 503),
        openapi_extra={"requestBody": _several_tiles_body()},
    )
    async def classify_batch(request: Request) -> Response:
        """Classify several tiles, each sent as a multipart field `files`.

        The answer keeps their order. A tile that cannot be classified gets a problem in its
        place and never fails the others.
        """
        with service.uploads.account() as take:
            async with reading():
                tiles = await read_tiles(
                    request,
                    settings.max_tile_bytes,
                    settings.max_request_bytes,
                    settings.max_request_tiles,
                    take,
                )
            request.state.log["n_tiles"] = len(tiles)
            results = await _while_connected(request, service.classify_each(tiles))
        request_id = request.state.request_id
        items = [_batch_item(i, result, request_id) for i, result in enumerate(results)]
        n_problems = sum(item.problem is not None for item in items)
        request.state.log.update(n_problems=n_problems, **_batch_log_fields(results))
        answer = BatchAnswer(
            request_id=request_id, n_tiles=len(items), n_problems=n_problems, items=items
        )
        return _json(answer.model_dump_json(exclude_none=True))

    return router


async def _while_connected(request: Request, work: Awaitable[_Answer]) -> _Answer:
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


def _json(content: str) -> Response:
    # The answer is a validated model already; FastAPI would validate and serialise it once more.
    return Response(content, media_type="application/json")


def _batch_item(index: int, result: TileResult | OsteoError, request_id: str) -> BatchItem:
    if isinstance(result, OsteoError):
        return BatchItem(index=index, problem=problem_of(result, request_id))
    return BatchItem(index=index, result=result)


def _log_fields(result: TileResult) -> dict[str, Any]:
    return {
        "model_version": result.model.version,
        "tile_sha256": result.tile.sha256,
        **dict(result.timing),
    }


def _batch_log_fields(results: Sequence[TileResult | OsteoError]) -> dict[str, Any]:
    """Of a batch the sums: one line a request, however many tiles."""
    answered = [result for result in results if isinstance(result, TileResult)]
    if not answered:
        return {}
    timings = [result.timing.model_dump() for result in answered]
    sums = {stage: round(sum(timing[stage] for timing in timings), 6) for stage in timings[0]}
    return {"model_version": answered[0].model.version, **sums}


def _one_tile_body() -> dict[str, Any]:
    form = {"type": "object", "required": [TILE_FIELD], "properties": {TILE_FIELD: _BINARY}}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            **{media_type: {"schema": _BINARY} for media_type in _IMAGE_TYPES},
        },
    }


def _several_tiles_body() -> dict[str, Any]:
    files = {"type": "array", "items": _BINARY, "minItems": 1}
    form = {"type": "object", "required": [TILES_FIELD], "properties": {TILES_FIELD: files}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}}}
