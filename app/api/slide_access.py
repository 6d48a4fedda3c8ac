"""What the routes of whole slides share: the packages they need, and what they record."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

from fastapi import APIRouter, Depends, Request

from app.api.openapi import problem_responses
from app.api.request_context import SlideEvent, SlideNote, request_context
from app.core.slide_errors import ExtraMissingError
from app.inference.results import ModelIdentity
from app.jobs.slide_service import SlideService

_LOGGED: Final = frozenset({"job", "slide_sha256", "result"})


class RequireSlides:
    """A dependency of all these routes: slides can be read, and their queue is open."""

    def __init__(self, slides: SlideService) -> None:
        """Use the slides of a service."""
        self._slides = slides

    async def __call__(self) -> None:
        """Open the queue at the first request, so that what has expired is deleted.

        Raises:
            ExtraMissingError: the packages that read slides are not installed.
        """
        if find_spec("openslide") is None or find_spec("tifffile") is None:
            raise ExtraMissingError("Reading slides", "slides")
        await self._slides.start()


def note(
    request: Request,
    event: SlideEvent,
    model: ModelIdentity | None = None,
    **details: object,
) -> None:
    """Note what a request did with a slide, for the audit."""
    context = request_context(request.scope)
    context.slide_notes.append(SlideNote(event, model, details))
    # What was found on the slide is for the audit, as it is with tiles.
    context.log_fields.update({k: v for k, v in details.items() if k in _LOGGED})


def slide_router(slides: SlideService) -> APIRouter:
    """A router whose routes all need the packages that read slides."""
    return APIRouter(prefix="/v1", tags=["slides"], dependencies=[Depends(RequireSlides(slides))])


def slide_problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The responses of a route with parameters that can answer with these problems."""
    return problem_responses("extra-missing", "invalid-request", *codes)
