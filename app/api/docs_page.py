"""The page `/docs`: Swagger UI from the installed package, because hospitals have no CDN."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse

from app.api.content_policy import policy_of_page

STATIC_PATH = "/static-offline-docs"
"""Where fastapi-offline serves Swagger UI."""


def build_router(title: str) -> APIRouter:
    """The route; people open it, so the OpenAPI document does not list it."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs(request: Request) -> HTMLResponse:
        """Swagger UI."""
        root = request.scope.get("root_path", "")
        page = get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=title,
            swagger_js_url=f"{root}{STATIC_PATH}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{STATIC_PATH}/swagger-ui.css",
            swagger_favicon_url=f"{root}{STATIC_PATH}/favicon.png",
        )
        # Swagger UI sets styles of single elements, and its icons are `data:` images.
        page.headers["Content-Security-Policy"] = policy_of_page(
            bytes(page.body).decode(),
            script_src="'self'",
            style_src="'self' 'unsafe-inline'",
            img_src="'self' data:",
            connect_src="'self'",
        )
        return page

    return router
