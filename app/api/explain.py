"""The route that shows where the evidence lies."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from app.api.problems import openapi_responses
from app.api.schemas import ClassifyAnswer, TileResult
from app.api.tile_upload import (
    BINARY,
    TileRoute,
    json_response,
    log_fields,
    one_tile_body,
    reading,
    while_connected,
)
from app.api.uploads import read_tile
from app.inference.explanation import PREDICTED
from app.serving.service import TileService
from app.settings import Settings

_PICTURES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A picture, or JSON for `format=grid`.",
        "content": {"image/png": {"schema": BINARY}},
    }
}


def build_router(service: TileService, settings: Settings) -> APIRouter:
    """The route, bound to a service."""
    router = APIRouter(prefix="/v1", tags=["tiles"], route_class=TileRoute)

    @router.post(
        "/explain",
        response_model=ClassifyAnswer,
        responses=openapi_responses(400, 408, 413, 415, 422, 429, 500, 503) | _PICTURES,
        openapi_extra={"requestBody": one_tile_body()},
    )
    async def explain(
        request: Request,
        label: Annotated[
            str, Query(description="Whose evidence: a label id, or the predicted one.")
        ] = PREDICTED,
        form: Annotated[
            Literal["overlay", "heat", "grid"],
            Query(
                alias="format",
                description="`overlay`: PNG of the tile under the heat, with a colour bar; `heat`: "
                "transparent PNG to lay over the tile; `grid`: JSON.",
            ),
        ] = "overlay",
        size_px: Annotated[
            int, Query(ge=64, le=2048, description="Side of the tile in the picture.")
        ] = 512,
        opacity: Annotated[
            float, Query(ge=0, le=1, description="Of the heat where it is highest.")
        ] = 0.6,
    ) -> Response:
        """Show where in the tile the evidence for a label lies (Grad-CAM), from one model run.

        Where the map carries nothing, or the tile is none the model knows, a picture is refused as
        `explanation-unavailable`, and the grid's status is `unavailable`.
        """
        with service.uploads.account() as take:
            async with reading(request, service, settings):
                tile_bytes = await read_tile(request, settings.max_tile_bytes, take)
            request.state.log["n_tiles"] = 1
            if form == "grid":
                result = await while_connected(request, service.classify(tile_bytes, label))
            else:
                drawing = service.explain(tile_bytes, label, form, size_px, opacity)
                result, picture = await while_connected(request, drawing)
        request.state.log.update(log_fields(result))
        if form == "grid":
            answer = ClassifyAnswer(request_id=request.state.request_id, **dict(result))
            return json_response(answer.model_dump_json())
        return Response(picture, media_type="image/png", headers=_picture_headers(result))

    return router


def _picture_headers(result: TileResult) -> dict[str, str]:
    """What the picture shows, for programs that keep it."""
    explained = result.explanation.label if result.explanation else ""
    return {
        "X-Osteo-Prediction": result.prediction,
        "X-Osteo-Probability": f"{result.probabilities[result.prediction]:.4f}",
        "X-Osteo-Explained": explained,
        "X-Osteo-Review": ",".join(result.review.reasons),
        "X-Osteo-Model": f"{result.model.name}/{result.model.version}",
    }
