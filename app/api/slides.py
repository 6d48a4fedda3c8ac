"""Routes that add, describe, show and delete whole slides."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from app.api.openapi import BINARY
from app.api.slide_access import note, slide_problems, slide_router, store_problems
from app.api.slide_json import JSON_PROBLEMS
from app.api.slide_schemas import NewSlide, SlideAnswer, SlidesAnswer
from app.api.tile_upload import json_response
from app.core.slide_store_errors import DiskFullError
from app.inference.results import Answer
from app.jobs.slide_service import SlideService
from app.runtime.cores import usable_cores
from app.serving.lifecycle import Lifecycle
from app.settings import Settings
from app.slides.storage.adding import SeriesName
from app.slides.storage.disk import write_file
from app.slides.storage.slide_record import SlideRecord

SlideId = Annotated[str, Path(max_length=64, description="Identifies the slide.")]
READING: Final = ("slide-not-found", "slide-changed", "slide-reader", "slide-readers-busy")
"""Problems of every route that reads pixels of a slide."""
REFUSALS: Final = (*("unsupported-slide", "corrupt-slide", "slide-too-large", "slide-resolution"),)
_ADDING: Final = (
    *("not-ready", "upload-not-found", "upload-busy", "upload-incomplete"),
    *(
        "slide-path",
        "slide-archive",
        "series-not-found",
        "slides-full",
        "disk-full",
        "slide-reader",
    ),
    "slide-readers-busy",
    "slide-exists",
)
_IMAGE: Final = {
    "description": "The picture.",
    "content": {"image/jpeg": {"schema": BINARY}},
}


def build_router(slides: SlideService, lifecycle: Lifecycle, settings: Settings) -> APIRouter:
    """The routes, bound to the slides and the model of a service."""
    router = slide_router(slides)
    n_threads = settings.slide_threads or usable_cores()

    @router.post(
        "/slides",
        status_code=201,
        response_model=SlideAnswer,
        responses=slide_problems(*JSON_PROBLEMS, *REFUSALS, *_ADDING)
        | known_response("The slide was known.", SlideAnswer),
    )
    async def add_slide(request: Request, new: NewSlide) -> Response:
        """Inspect a slide and keep it; it is read, but not classified yet.

        Send `{"upload": ID}`, `{"mount": NAME, "path": PATH}` or `{"study": UID, "series": UID}`.
        The answer is 200 if the service had the slide already, and 409 if it has it with another
        `mpp` than this one: give that with the job.
        """
        record, is_new = await _add(slides, lifecycle, new)
        if is_new:
            note(
                request,
                "slide-added",
                slide_sha256=record.id,
                source=record.source,
                n_bytes=record.facts.n_bytes,
            )
        response = json_response(SlideAnswer.of(record, n_threads).model_dump_json())
        response.status_code = 201 if is_new else 200
        response.headers["Location"] = f"{_root(request)}/v1/slides/{record.id}"
        return response

    @router.get("/slides", responses=store_problems())
    async def list_slides() -> SlidesAnswer:
        """All slides, the newest first."""
        records = await asyncio.to_thread(slides.store.records)
        return SlidesAnswer(slides=[SlideAnswer.of(record, n_threads) for record in records])

    @router.get("/slides/{slide_id}", responses=slide_problems("slide-not-found"))
    async def get_slide(slide_id: SlideId) -> SlideAnswer:
        """What is known of a slide."""
        record = await asyncio.to_thread(slides.store.record, slide_id)
        return SlideAnswer.of(record, n_threads)

    @router.delete(
        "/slides/{slide_id}",
        status_code=204,
        responses=slide_problems(
            "slide-not-found", "slide-in-use", "jobs-unavailable", "disk-full"
        ),
    )
    async def delete_slide(request: Request, slide_id: SlideId) -> Response:
        """Delete a slide, its jobs and their results; a file beneath a mount stays."""
        record = await slides.delete_slide(slide_id)
        note(request, "slide-deleted", slide_sha256=record.id)
        return Response(status_code=204)

    @router.get(
        "/slides/{slide_id}/thumbnail",
        response_class=Response,
        responses=slide_problems(*READING, *REFUSALS) | {200: _IMAGE},
    )
    async def slide_thumbnail(slide_id: SlideId) -> Response:
        """A picture of the whole slide, without its label: a JPEG of at most 1024 px a side."""
        return Response(await _thumbnail(slides, slide_id), media_type="image/jpeg")

    return router


def known_response(description: str, answer: type[Answer]) -> dict[int | str, dict[str, Any]]:
    """The response 200 of a route whose answer usually has another status."""
    return {200: {"description": description, "model": answer}}


async def _add(
    slides: SlideService, lifecycle: Lifecycle, new: NewSlide
) -> tuple[SlideRecord, bool]:
    contract = lifecycle.require_model().classifier.bundle.manifest.input
    intake = slides.intake
    if new.upload is not None:
        return await intake.add_upload(new.upload, new.mpp, contract)
    if new.mount is not None and new.path is not None:
        return await intake.add_mounted(new.mount, new.path, new.mpp, contract)
    name = SeriesName(new.study or "", new.series or "")
    return await intake.add_series(name, new.mpp, contract)


async def _thumbnail(slides: SlideService, slide_id: str) -> bytes:
    """The picture, made once and then kept."""
    file = await slides.slide_file(slide_id)
    kept = slides.store.thumbnail_file(slide_id)
    with suppress(FileNotFoundError):
        return await asyncio.to_thread(kept.read_bytes)
    picture = await slides.readers.thumbnail(file)
    with suppress(DiskFullError, FileNotFoundError):  # or the slide was deleted meanwhile
        await asyncio.to_thread(write_file, kept, picture)
    return picture


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", ""))
