"""Routes that classify tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from app.api.problems import openapi_responses, problem_of
from app.api.schemas import BatchAnswer, BatchItem, ClassifyAnswer, TileResult
from app.api.tile_upload import (
    BINARY,
    TileRoute,
    json_response,
    log_fields,
    one_tile_body,
    reading,
    while_connected,
)
from app.api.uploads import TILES_FIELD, read_tile, read_tiles
from app.core.errors import OsteoError
from app.inference.explanation import PREDICTED
from app.serving.service import TileService
from app.settings import Settings


def build_router(service: TileService, settings: Settings) -> APIRouter:
    """The routes, bound to a service."""
    router = APIRouter(prefix="/v1", tags=["tiles"], route_class=TileRoute)

    @router.post(
        "/classify",
        response_model=ClassifyAnswer,
        responses=openapi_responses(400, 408, 413, 415, 422, 429, 500, 503),
        openapi_extra={"requestBody": one_tile_body()},
    )
    async def classify(
        request: Request,
        explain: Annotated[
            bool, Query(description="Answer with the evidence map of the predicted label, too.")
        ] = False,
    ) -> Response:
        """Classify one tile, sent as multipart field `file` or as the raw body."""
        with service.uploads.account() as take:
            async with reading(request, service, settings):
                tile_bytes = await read_tile(request, settings.max_tile_bytes, take)
            request.state.log["n_tiles"] = 1
            asked = PREDICTED if explain else None
            result = await while_connected(request, service.classify(tile_bytes, asked))
        request.state.log.update(log_fields(result))
        answer = ClassifyAnswer(request_id=request.state.request_id, **dict(result))
        return json_response(answer.model_dump_json())

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
            async with reading(request, service, settings):
                tiles = await read_tiles(
                    request,
                    settings.max_tile_bytes,
                    settings.max_request_bytes,
                    settings.max_request_tiles,
                    take,
                )
            request.state.log["n_tiles"] = len(tiles)
            results = await while_connected(request, service.classify_each(tiles))
        request_id = request.state.request_id
        items = [_batch_item(i, result, request_id) for i, result in enumerate(results)]
        n_problems = sum(item.problem is not None for item in items)
        request.state.log.update(n_problems=n_problems, **_batch_log_fields(results))
        answer = BatchAnswer(
            request_id=request_id, n_tiles=len(items), n_problems=n_problems, items=items
        )
        return json_response(answer.model_dump_json(exclude_none=True))

    return router


def _batch_item(index: int, result: TileResult | OsteoError, request_id: str) -> BatchItem:
    if isinstance(result, OsteoError):
        return BatchItem(index=index, problem=problem_of(result, request_id))
    return BatchItem(index=index, result=result)


def _batch_log_fields(results: Sequence[TileResult | OsteoError]) -> dict[str, Any]:
    """Of a batch the sums: one line a request, however many tiles."""
    answered = [result for result in results if isinstance(result, TileResult)]
    if not answered:
        return {}
    timings = [result.timing.model_dump() for result in answered]
    sums = {stage: round(sum(timing[stage] for timing in timings), 6) for stage in timings[0]}
    return {"model_version": answered[0].model.version, **sums}


def _several_tiles_body() -> dict[str, Any]:
    files = {"type": "array", "items": BINARY, "minItems": 1}
    form = {"type": "object", "required": [TILES_FIELD], "properties": {TILES_FIELD: files}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}}}
