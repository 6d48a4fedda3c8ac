"""The routes of an application, also those that its description leaves out."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient


def every_route(client: TestClient) -> list[tuple[str, str]]:
    """Method and path of each route."""
    app = client.app
    assert isinstance(app, FastAPI)
    routers = [route for route in app.router.routes if isinstance(route, APIRoute)]
    included = [
        found
        for route in app.router.routes
        if isinstance(getattr(route, "original_router", None), APIRouter)
        for found in route.original_router.routes  # type: ignore[attr-defined] # as asked above
    ]
    found = [*routers, *(route for route in included if isinstance(route, APIRoute))]
    return sorted({(method, route.path) for route in found for method in route.methods or ()})
