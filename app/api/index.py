"""The route `/`: where to go."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from app import __version__
from app.inference.results import RESEARCH_USE

_WHERE: Final = {
    "service": "osteo-tiles",
    "version": __version__,
    "notice": RESEARCH_USE,
    "classify": "POST /v1/classify",
    "example": "curl -F file=@tile.jpg http://HOST:PORT/v1/classify",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "models": "/v1/models",
    "ready": "/readyz",
    "metrics": "/metrics",
}


def build_router() -> APIRouter:
    """The route; the OpenAPI document does not list it, because programs need not follow it."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def where_to_go() -> dict[str, str]:
        """The paths of the pages and of the most used routes."""
        return _WHERE

    return router
