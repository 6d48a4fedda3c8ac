"""What to say about a path that no route has, or a method that its route does not support."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.types import Scope

from app.api.cross_origin import is_preflight
from app.api.request_context import request_context

UNMATCHED: Final = "unmatched"
"""Stands for paths without a route: they are arbitrary, so they cannot be labels of metrics."""
_MAX_COMPARED: Final = 100  # characters of a path that are compared and shown
_MAX_NEAREST: Final = 3
_PAGES: Final = ("/docs", "/openapi.json")  # that FastAPI adds itself


def methods_by_path(routers: Iterable[APIRouter]) -> dict[str, list[str]]:
    """The routes that a sentence about an unknown path may suggest.

    The OpenAPI document has them too, but building it would block a running service.
    """
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    described: dict[str, list[str]] = {path: ["GET"] for path in _PAGES}
    for route in routes:
        if route.include_in_schema:
            known = described.get(route.path, [])
            described[route.path] = sorted({*known, *(route.methods or ())})
    return described


def route_of(scope: Scope) -> str:
    """The path of the route of a request, for logs, metrics and the audit."""
    if request_context(scope).refusal_reason:  # before it came to a router
        return route_path(scope["path"], scope["app"].state.methods_by_path)
    return str(getattr(scope.get("route"), "path", UNMATCHED))


def route_path(path: str, routes: Iterable[str]) -> str:
    """The path of the route that a refused request asks for, which no router has seen.

    Args:
        path: of the request.
        routes: paths of all routes, such as `/v1/models/{version}/activate`.

    Returns:
        One of them, so that it can be the label of a metric; `UNMATCHED` if none fits.
    """
    return next((route for route in routes if _fits(path, route)), UNMATCHED)


def methods_of(path: str, methods: Mapping[str, Iterable[str]]) -> set[str]:
    """The methods of all routes that have a path; Starlette names those of the first alone.

    Args:
        path: of a request.
        methods: by the path of their route.
    """
    return {method for route, found in methods.items() if _fits(path, route) for method in found}


def describe_unknown_path(request: Request, pages: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """The sentence for a path that nothing has, and the nearest routes as data.

    Args:
        request: the one without a route.
        pages: paths of pages that are no routes of their own.
    """
    methods = {path: ["GET"] for path in pages} | request.app.state.methods_by_path
    nearest = _nearest_routes(methods, request.scope["path"])
    advice = f"Did you mean {' or '.join(nearest)}?" if nearest else "/docs lists the routes."
    return f"No route has the path {_shown(request)}. {advice}", {"nearest": nearest}


def describe_wrong_method(request: Request, allowed: str) -> str:
    """The sentence for a method that a route does not support."""
    sentence = f"{_shown(request)} does not support the method; use {allowed}."
    if is_preflight(request.scope):
        sentence += " Set OSTEO_CORS_ORIGINS to let the pages of other origins use the service."
    return sentence


def allowed_methods(allow: str) -> str:
    """The header `Allow` with HEAD, which every route with GET answers."""
    methods = {method.strip() for method in allow.split(",")} - {""}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _fits(path: str, route: str) -> bool:
    """Whether a route has a path; a parameter at the end of a part, as in `{tile}.jpeg`, too."""
    parts, wanted = path.split("/"), route.split("/")
    return len(wanted) == len(parts) and all(
        one == other
        or (one.startswith("{") and bool(other) and other.endswith(one.partition("}")[2]))
        for one, other in zip(wanted, parts, strict=True)
    )


def _nearest_routes(methods: Mapping[str, Iterable[str]], path: str) -> list[str]:
    """Routes with a similar path, the most similar first, such as `POST /v1/classify`."""
    asked = path[:_MAX_COMPARED].lower()
    close = difflib.get_close_matches(asked, methods, n=_MAX_NEAREST, cutoff=0.65)
    return [f"{method} {found}" for found in close for method in methods[found]]


def _shown(request: Request) -> str:
    """The path, percent-encoded and cut: it may hold anything."""
    path = request.scope["path"]
    return quote(path[:_MAX_COMPARED], errors="replace") + (
        "..." if len(path) > _MAX_COMPARED else ""
    )
