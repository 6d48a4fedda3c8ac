"""What the routes of whole slides share: the packages they need, and what they record."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from app.api.openapi import problem_responses
from app.api.request_context import SlideEvent, SlideNote, request_context
from app.api.slide_json import with_checked_json
from app.core.slide_errors import ExtraMissingError
from app.inference.results import ModelIdentity
from app.jobs.slide_service import SlideService
from app.slides.storage.disk import naming_unusable_folder

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
        if find_spec("openslide") is None:
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
    """A router whose routes all need the packages that read slides, and the folder of slides."""
    return APIRouter(
        prefix="/v1",
        tags=["slides"],
        dependencies=[Depends(RequireSlides(slides))],
        route_class=_route_class(slides.store.root),
    )


def slide_problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The responses of a route with parameters that can answer with these problems."""
    return store_problems("invalid-request", *codes)


def store_problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The responses of a route with these problems, and with those of all routes of slides."""
    return problem_responses("extra-missing", "slide-store-unavailable", *codes)


def _route_class(root: Path) -> type[APIRoute]:
    """Routes that limit the size of JSON bodies, and name errors about a folder."""

    class SlideRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            takes_json = self.body_field is not None

            async def handle_safely(request: Request) -> Response:
                checked = await with_checked_json(request) if takes_json else request
                with naming_unusable_folder(root):
                    return await handle(checked)

            return handle_safely

    return SlideRoute
