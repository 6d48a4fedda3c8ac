"""Probes and metrics: they bypass the queue and never run the model."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.api.openapi import problem_responses
from app.api.schemas import Health
from app.core.errors import NotReadyError
from app.serving.readiness import Readiness
from app.telemetry.metrics import Metrics


def build_router(readiness: Readiness, metrics: Metrics) -> APIRouter:
    """The routes, bound to the readiness and the metrics of a service."""
    router = APIRouter(tags=["health"])

    @router.get("/livez", responses=problem_responses(needs_caller=False))
    async def livez() -> Health:
        """200 while the process responds; restart it when this fails."""
        return Health(status="live")

    @router.get("/readyz", responses=problem_responses("not-ready", needs_caller=False))
    async def readyz() -> Health:
        """200 once the model is loaded, warmed up and reproduces its golden tiles.

        503 before that, while draining, and after repeated failures of the model.
        """
        if readiness.reason is not None:
            raise NotReadyError(readiness.reason)
        return Health(status="ready")

    @router.get(
        "/metrics",
        name="metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **problem_responses()},
    )
    async def prometheus_metrics() -> Response:
        """Metrics in the Prometheus text format."""
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router
