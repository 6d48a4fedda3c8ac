"""Routes that FastAPI builds once; those of an included router it builds twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.params import Depends
from fastapi.routing import APIRoute


class Routes(APIRouter):
    """Keeps what its decorators are given until the application gets it.

    `FastAPI.include_router` takes routes that are built already, and builds them again for the
    first request, which would wait for it.
    """

    def __init__(
        self,
        *,
        prefix: str = "",
        tags: Sequence[str] = (),
        dependencies: Sequence[Depends] = (),
        route_class: type[APIRoute] = APIRoute,
        include_in_schema: bool = True,
    ) -> None:
        """Say what all of the routes have in common, as for an `APIRouter`."""
        super().__init__()
        self._prefix = prefix
        self._tags = tags
        self._dependencies = dependencies
        self._route_class = route_class
        self._include_in_schema = include_in_schema
        self._kept: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Keep a route; the decorators call this."""
        self._kept.append((path, endpoint, options))

    def add_to(self, router: APIRouter) -> None:
        """Build the routes as those of a router, whose dependencies they get too."""
        for path, endpoint, options in self._kept:
            in_common: dict[str, Any] = {
                "tags": [*self._tags, *(options["tags"] or ())],
                "dependencies": [*self._dependencies, *(options["dependencies"] or ())],
                "include_in_schema": self._include_in_schema and options["include_in_schema"],
                "route_class_override": self._route_class,
            }
            router.add_api_route(self._prefix + path, endpoint, **{**options, **in_common})
