"""The route that shows the evidence map of a tile."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from app.api.problems import openapi_responses
from app.api.schemas import ClassifyAnswer
from app.api.tile_upload import (
    BINARY,
    TileRequests,
    classify_response,
    log_result,
    one_tile_body,
)
from app.inference.explanation import PREDICTED
from app.inference.results import TileResult
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
    router = APIRouter(prefix="/v1", tags=["tiles"])
    requests = TileRequests(service, settings)

    @router.post(
        "/explain",
        response_model=ClassifyAnswer,
        responses=openapi_responses(400, 408, 413, 415, 422, 429, 500, 503) | _PICTURES,
        openapi_extra={"requestBody": one_tile_body()},
    )
    async def explain(
        request: Request,
        label: Annotated[
            str, Query(description="The label to explain: a label id, or `predicted`.")
        ] = PREDICTED,
        form: Annotated[
            Literal["overlay", "heat", "grid"],
            Query(
                alias="format",
                description="`overlay`: PNG of the heat map over the tile, with a colour bar; "
                "`heat`: PNG of the heat map on a transparent background; `grid`: JSON.",
            ),
        ] = "overlay",
        size_px: Annotated[
            int, Query(ge=64, le=2048, description="Side of the tile in the picture.")
        ] = 512,
        opacity: Annotated[
            float, Query(ge=0, le=1, description="Opacity of the heat map at its maximum.")
        ] = 0.6,
    ) -> Response:
        """Show where in the tile the evidence for a label lies (Grad-CAM), from one model run.

        If the map shows nothing, or the tile is unlike the training data, a picture is answered
        with `explanation-unavailable`, and a grid with the status `unavailable`.
        """
        if form == "grid":
            result = await requests.process_one(
                request, lambda tile_bytes: service.classify(tile_bytes, label)
            )
            return classify_response(request, result)
        result, picture = await requests.process_one(
            request, lambda tile_bytes: service.explain(tile_bytes, label, form, size_px, opacity)
        )
        log_result(request, result)
        return Response(picture, media_type="image/png", headers=_picture_headers(result))

    return router


def _picture_headers(result: TileResult) -> dict[str, str]:
    """What the picture shows, for clients that store it."""
    explained = result.explanation.label if result.explanation else ""
    return {
        "X-Osteo-Prediction": result.prediction,
        "X-Osteo-Probability": f"{result.probabilities[result.prediction]:.4f}",
        "X-Osteo-Explained": explained,
        "X-Osteo-Review": ",".join(result.review.reasons),
        "X-Osteo-Model": f"{result.model.name}/{result.model.version}",
    }
