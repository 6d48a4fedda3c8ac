"""Put the service together: settings in, ASGI application out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import __version__
from app.api import classify, explain, health, models
from app.api.middleware import ObserveRequests
from app.api.problems import install_handlers
from app.api.schemas import RESEARCH_USE
from app.server.tile_protocol import DOOR, Door
from app.serving.loading import RuntimeOpener, open_configured_runtime
from app.serving.service import TileService
from app.settings import Settings
from app.telemetry.metrics import Metrics

_DESCRIPTION: Final = f"""
Classifies H&E tiles of osteosarcoma as Non-Tumor, Non-Viable Tumor or Viable Tumor.

**{RESEARCH_USE}** Accuracy on patients the model has never seen is much lower than on random
splits; `GET /v1/models` names every number with its split.

Errors are RFC 9457 `application/problem+json`.
"""


def create_app(settings: Settings, opener: RuntimeOpener = open_configured_runtime) -> FastAPI:
    """Build the application.

    Args:
        settings: read once by the caller, passed down from here.
        opener: makes the runtime of a bundle; tests pass a fake.

    Returns:
        An ASGI application whose lifespan loads the model; `app.state.service` is its service.
    """
    metrics = Metrics()
    service = TileService(settings, metrics, opener)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        service.start()
        yield {DOOR: Door(service, metrics)}  # for the connections
        await service.stop()

    # The pages of /docs come from the installed package: a hospital's browser reaches no CDN.
    app: FastAPI = FastAPIOffline(
        title="osteo-tiles",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.service = service
    app.add_middleware(ObserveRequests, metrics=metrics)
    install_handlers(app)
    app.include_router(classify.build_router(service, settings))
    app.include_router(explain.build_router(service, settings))
    app.include_router(models.build_router(service, settings))
    app.include_router(health.build_router(service, metrics))
    return app
