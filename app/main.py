"""Assemble the application from its settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import __version__
from app.access.opening import open_access, open_rate_limits
from app.api import classify, docs_page, explain, health, index, models, problem_pages, slide_routes
from app.api.access_control import AccessControl, RequireCaller
from app.api.access_metrics import watch_access, watch_audit
from app.api.auditing import Auditor
from app.api.cross_origin import CrossOrigin, cross_origin_state
from app.api.load_shedding import LoadShedder, lifespan_state
from app.api.middleware import ObserveRequests
from app.api.openapi import CONTACT, LICENSE, SERVERS, TAGS, install_document, operation_id
from app.api.preflight import AnswerPreflights
from app.api.problems import install_handlers
from app.api.request_tracing import tracer_state, watch_traces
from app.api.spellings import ServeSpellings
from app.api.unrouted import methods_by_path
from app.audit.session import open_audit
from app.inference.results import RESEARCH_USE
from app.jobs.slide_service import SlideService
from app.serving.lifecycle import Lifecycle
from app.serving.loading import RuntimeOpener, open_configured_runtime
from app.serving.service import TileService
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.open_tracing import open_tracer

_DESCRIPTION: Final = f"""
Classifies tiles of histology. The released model tells Non-Tumor, Non-Viable Tumor and Viable Tumor
apart on H&E tiles of osteosarcoma; `GET /v1/models` lists the labels of the model that serves.

**{RESEARCH_USE}** Accuracy on patients the model has never seen is much lower than on random
splits; `GET /v1/models` lists every metric with its split.

Errors are RFC 9457 `application/problem+json`.
"""


_NO_TELEMETRY: Final = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own spans hold paths and queries, and begin with a variable of the environment."""


def create_app(settings: Settings, opener: RuntimeOpener = open_configured_runtime) -> FastAPI:
    """Build the application.

    Args:
        settings: the settings of the whole service.
        opener: opens the runtime of a bundle; tests pass a fake.

    Returns:
        An ASGI application whose lifespan loads the model; its service is `app.state.service`,
        its metrics are `app.state.metrics`, its audit is `app.state.audit`.

    Raises:
        SettingsError: the service would be open to other machines by accident, or its keys, limits
            or audit cannot be opened.
    """
    metrics = Metrics()
    authenticator = open_access(settings)
    rate_limits = open_rate_limits(settings)
    access = AccessControl(authenticator, rate_limits, settings, metrics)
    watch_access(metrics, authenticator, rate_limits)
    audit = open_audit(settings, callers="identified" if authenticator.is_required else "open")
    auditor = Auditor(audit.writer, is_required=audit.mode == "required")
    watch_audit(metrics, audit.writer)
    tracer = open_tracer(
        settings.traces_url,
        settings.traces_share,
        settings.traces_per_s,
        settings.model_name,
        settings.replica,
    )
    watch_traces(metrics, tracer)
    lifecycle = Lifecycle(settings, metrics, opener, auditor.note_switch)
    service = TileService(settings, metrics, lifecycle)
    slides = SlideService(settings, metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with authenticator.running(), audit.running():
            lifecycle.start()
            await slides.start()
            yield (
                lifespan_state(LoadShedder(service, access, auditor, metrics))
                | cross_origin_state(CrossOrigin(settings.allowed_origins))
                | tracer_state(tracer)
            )
            await slides.stop()
            await lifecycle.stop()
        await rate_limits.close()
        if tracer is not None:
            await asyncio.to_thread(tracer.export.close)

    # /docs is served from the installed package, because hospital browsers cannot reach a CDN.
    app: FastAPI = FastAPIOffline(
        title="osteo-tiles",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        license_info=LICENSE,
        contact=CONTACT,
        servers=SERVERS,
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    app.state.service = service
    app.state.slides = slides
    app.state.metrics = metrics
    app.state.audit = audit
    # The last one added sees a request first.
    app.add_middleware(RequireCaller, access=access)
    app.add_middleware(ServeSpellings)
    app.add_middleware(AnswerPreflights)
    app.add_middleware(ObserveRequests, metrics=metrics, auditor=auditor)
    install_handlers(app)
    install_document(app)
    routers = (
        classify.build_router(service, settings),
        explain.build_router(service, settings),
        *slide_routes.build_routers(slides, lifecycle, settings),
        models.build_router(lifecycle, settings),
        health.build_router(lifecycle.readiness, metrics),
        index.build_router(),
        problem_pages.build_router(),
        docs_page.build_router(app.title),
    )
    for router in routers:
        app.include_router(router)
    app.state.methods_by_path = methods_by_path(routers)
    return app
