"""Routes that classify tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from app.api.openapi import TILE_CODES, UPLOAD_CODES, form_body, problem_responses
from app.api.problems import problem_of
from app.api.request_context import request_context
from app.api.schemas import BatchAnswer, BatchItem, ClassifyAnswer
from app.api.tile_upload import TileRequests, classify_response, json_response
from app.core.errors import OsteoError
from app.inference.explanation import PREDICTED
from app.inference.results import TileResult
from app.serving.service import TileService
from app.settings import Settings
from app.telemetry.tracing import stage


def build_router(service: TileService, settings: Settings) -> APIRouter:
    """The routes, bound to a service."""
    router = APIRouter(prefix="/v1", tags=["tiles"])
    requests = TileRequests(service, settings)

    @router.post(
        "/classify",
        response_model=ClassifyAnswer,
        responses=problem_responses(*UPLOAD_CODES, *TILE_CODES, "invalid-request"),
        openapi_extra=form_body("TileForm"),
    )
    async def classify(
        request: Request,
        explain: Annotated[
            bool, Query(description="Include the evidence map of the predicted label.")
        ] = False,
    ) -> Response:
        """Classify one tile, sent as multipart field `file`.

        The tile may also be the body itself, with a media type `image/*`.
        """
        label = PREDICTED if explain else None
        result = await requests.process_one(
            request, lambda tile_bytes: service.classify(tile_bytes, label)
        )
        return classify_response(request, result)

    @router.post(
        "/classify/batch",
        response_model=BatchAnswer,
        responses=problem_responses(*UPLOAD_CODES),
        openapi_extra=form_body("TilesForm"),
    )
    async def classify_batch(request: Request) -> Response:
        """Classify several tiles, each sent as a multipart field `files`.

        The answers are in the order of the tiles. A tile that cannot be classified gets a problem
        in place of a result and does not affect the others.
        """
        named_results = await requests.process_several(request, service.classify_each)
        context = request_context(request.scope)
        encoding = stage("encode")
        items = [
            _batch_item(i, file_name, result, context.request_id)
            for i, (file_name, result) in enumerate(named_results)
        ]
        n_problems = sum(item.problem is not None for item in items)
        results = [result for _, result in named_results]
        context.results.extend(enumerate(results))
        context.log_fields.update(n_problems=n_problems, **_batch_log_fields(results))
        answer = BatchAnswer(
            request_id=context.request_id, n_tiles=len(items), n_problems=n_problems, items=items
        )
        content = answer.model_dump_json()
        encoding.end()
        return json_response(content)

    return router


def _batch_item(
    index: int, file_name: str | None, result: TileResult | OsteoError, request_id: str
) -> BatchItem:
    if isinstance(result, OsteoError):
        problem = problem_of(result, request_id)
        return BatchItem(index=index, file_name=file_name, problem=problem)
    return BatchItem(index=index, file_name=file_name, result=result)


def _batch_log_fields(results: Sequence[TileResult | OsteoError]) -> dict[str, Any]:
    """The summed timings of a batch: a request is one log line, whatever its number of tiles."""
    answered = [result for result in results if isinstance(result, TileResult)]
    if not answered:
        return {}
    timings = [result.timing.model_dump() for result in answered]
    sums = {stage: round(sum(timing[stage] for timing in timings), 6) for stage in timings[0]}
    return {"model_version": answered[0].model.version, **sums}
