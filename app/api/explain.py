"""The routes that show the evidence map of a tile."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from app.api.openapi import (
    TILE_CODES,
    UPLOAD_CODES,
    form_body,
    picture_response,
    problem_responses,
)
from app.api.schemas import ClassifyAnswer
from app.api.tile_upload import TileRequests, classify_response, note_result
from app.inference.explanation import PREDICTED
from app.inference.results import TileResult
from app.serving.service import TileService
from app.settings import Settings


def _require_picture(form: object) -> object:
    if form == "grid":
        raise PydanticCustomError("moved", "the grid has its own route: POST /v1/explain/grid")
    return form


PictureFormat = Annotated[
    Literal["overlay", "side-by-side", "heat"],
    BeforeValidator(_require_picture),
    Query(
        alias="format",
        description="`overlay`: the heat map over the tile, with a colour bar and a caption; "
        "`side-by-side`: the same, with the plain tile on the left; `heat`: the heat map on a "
        "transparent background. Glass is left out of all.",
    ),
]
ExplainedLabel = Annotated[
    str, Query(description="The label to explain: a label id, or `predicted`.")
]


def build_router(service: TileService, settings: Settings) -> APIRouter:
    """The routes, bound to a service."""
    router = APIRouter(prefix="/v1", tags=["tiles"])
    requests = TileRequests(service, settings)

    @router.post(
        "/explain",
        response_class=Response,
        responses=picture_response()
        | problem_responses(
            *UPLOAD_CODES,
            *TILE_CODES,
            "unknown-label",
            "explanation-unavailable",
            "invalid-request",
        ),
        openapi_extra=form_body("TileForm"),
    )
    async def explain(
        request: Request,
        label: ExplainedLabel = PREDICTED,
        form: PictureFormat = "overlay",
        size_px: Annotated[
            int, Query(ge=64, le=2048, description="Side of the tile in the picture.")
        ] = 512,
        opacity: Annotated[
            float, Query(ge=0, le=1, description="Opacity of the heat map at its maximum.")
        ] = 0.6,
    ) -> Response:
        """Draw where in the tile the evidence for a label lies, from one model run.

        If the map shows nothing, or the tile is unlike the training data, the answer is the
        problem `explanation-unavailable`. `/v1/explain/grid` answers with numbers.
        """
        result, picture = await requests.process_one(
            request, lambda tile_bytes: service.explain(tile_bytes, label, form, size_px, opacity)
        )
        note_result(request, result)
        return Response(picture, media_type="image/png", headers=_picture_headers(result))

    @router.post(
        "/explain/grid",
        response_model=ClassifyAnswer,
        responses=problem_responses(*UPLOAD_CODES, *TILE_CODES, "unknown-label"),
        openapi_extra=form_body("TileForm"),
    )
    async def explain_grid(request: Request, label: ExplainedLabel = PREDICTED) -> Response:
        """Classify one tile, and answer with the evidence map of a label as a grid of numbers.

        If the map shows nothing, or the tile is unlike the training data, the explanation has the
        status `unavailable` and no grid.
        """
        result = await requests.process_one(
            request, lambda tile_bytes: service.classify(tile_bytes, label)
        )
        return classify_response(request, result)

    return router


def _picture_headers(result: TileResult) -> dict[str, str]:
    """What the picture shows, for clients that store it."""
    explained = result.explanation
    label, glass_share = (explained.label, explained.glass_share or 0.0) if explained else ("", 0.0)
    return {
        "X-Osteo-Prediction": result.prediction,
        "X-Osteo-Probability": f"{result.probabilities[result.prediction]:.4f}",
        "X-Osteo-Explained": label,
        "X-Osteo-Glass-Share": f"{glass_share:.4f}",
        "X-Osteo-Review": ",".join(result.review.reasons),
        "X-Osteo-Review-Priority": f"{result.review.priority:.4f}",
        "X-Osteo-Model": f"{result.model.name}/{result.model.version}",
    }
