"""Routes from which a viewer such as OpenSeadragon shows a slide: Deep Zoom Images."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Path, Response

from app.api.openapi import BINARY
from app.api.slide_access import slide_problems, slide_router
from app.api.slides import READING, REFUSALS, SlideId
from app.jobs.slide_service import SlideService
from app.slides.viewing.deep_zoom import describe_pyramid

_XML: Final = "application/xml"
Level = Annotated[int, Path(ge=0, le=40, description="0 is one pixel; each next one is twice it.")]
Tile = Annotated[
    str, Path(pattern=r"^[0-9]{1,6}_[0-9]{1,6}$", description="Column and row, such as 3_7.")
]


def build_router(slides: SlideService) -> APIRouter:
    """The routes, bound to the slides of a service."""
    router = slide_router(slides)

    @router.get(
        "/slides/{slide_id}/dzi",
        response_class=Response,
        responses=slide_problems("slide-not-found")
        | {
            200: {
                "description": "The description.",
                "content": {_XML: {"schema": {"type": "string"}}},
            }
        },
    )
    async def describe_zoom(slide_id: SlideId) -> Response:
        """The size of a slide and of its tiles, as viewers of Deep Zoom Images read it."""
        record = await asyncio.to_thread(slides.store.record, slide_id)
        facts = record.facts
        return Response(describe_pyramid(facts.width_px, facts.height_px), media_type=_XML)

    @router.get(
        "/slides/{slide_id}/dzi_files/{level}/{tile}.jpeg",
        response_class=Response,
        responses=slide_problems(*READING, *REFUSALS, "zoom-tile-not-found")
        | {200: {"description": "The tile.", "content": {"image/jpeg": {"schema": BINARY}}}},
    )
    async def zoom_tile(slide_id: SlideId, level: Level, tile: Tile) -> Response:
        """One tile, of at most 256 px a side."""
        column, _, row = tile.partition("_")
        file = await slides.slide_file(slide_id)
        picture = await slides.readers.zoom_tile(file, level, int(column), int(row))
        return Response(picture, media_type="image/jpeg")

    return router
