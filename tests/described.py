"""The OpenAPI document of the service, made once by each process of the tests."""

from __future__ import annotations

import functools
from typing import Any

from app.main import create_app
from app.settings import Settings


@functools.cache
def openapi_document() -> dict[str, Any]:
    """The document of a service with default settings; tests copy what they change."""
    return create_app(Settings()).openapi()
