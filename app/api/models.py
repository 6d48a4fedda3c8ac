"""The route that says what is served."""

from __future__ import annotations

from fastapi import APIRouter

from app.problems import openapi_responses
from app.schemas import Limits, ModelsAnswer, ServedModel
from app.service import TileService
from app.settings import Settings


def build_router(service: TileService, settings: Settings) -> APIRouter:
    """The routes, bound to a service."""
    router = APIRouter(prefix="/v1", tags=["models"])

    @router.get("/models", responses=openapi_responses(503))
    async def list_models() -> ModelsAnswer:
        """The served model: manifest, labels, limits, hashes, runtime and device."""
        classifier = service.require_classifier()
        manifest, runtime = classifier.bundle.manifest, classifier.runtime
        model = ServedModel(
            **classifier.identity.model_dump(),
            labels=manifest.labels,
            input=manifest.input,
            runtime=runtime.name,
            device=runtime.device,
            workers=runtime.n_workers,
            manifest=manifest,
        )
        return ModelsAnswer(models=[model], limits=Limits(**settings.model_dump()))

    return router
