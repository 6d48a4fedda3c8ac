"""All routes of whole slides."""

from __future__ import annotations

from fastapi import APIRouter

from app.api import deep_zoom, jobs, slide_uploads, slides, specimens
from app.jobs.slide_service import SlideService
from app.serving.lifecycle import Lifecycle
from app.settings import Settings


def build_routers(
    service: SlideService, lifecycle: Lifecycle, settings: Settings
) -> tuple[APIRouter, ...]:
    """The routers, bound to a service."""
    return (
        slide_uploads.build_router(service, settings),
        slides.build_router(service, lifecycle, settings),
        deep_zoom.build_router(service),
        jobs.build_router(service, lifecycle),
        specimens.build_router(service),
    )
