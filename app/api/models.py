"""Routes that say what is served, and change it."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.problems import openapi_responses
from app.api.schemas import Limits, ModelIdentity, ModelsAnswer, ServedModel
from app.core.errors import AdminDeniedError
from app.inference.classifier import Classifier
from app.serving.service import TileService
from app.settings import Settings

Credentials = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="OSTEO_ADMIN_TOKEN of the service.")),
]
Version = Annotated[str, Path(pattern=r"^[1-9][0-9]*$", description="A version folder.")]


def build_router(service: TileService, settings: Settings) -> APIRouter:
    """The routes, bound to a service."""
    router = APIRouter(prefix="/v1", tags=["models"])

    def require_admin(credentials: HTTPAuthorizationCredentials | None) -> None:
        token = settings.admin_token
        if token is None:
            raise AdminDeniedError("Changing the model is off: OSTEO_ADMIN_TOKEN is not set.")
        given = credentials.credentials if credentials else ""
        if not secrets.compare_digest(given.encode(), token.get_secret_value().encode()):
            raise AdminDeniedError("Send the header Authorization: Bearer OSTEO_ADMIN_TOKEN.")

    @router.get("/models", responses=openapi_responses(503))
    async def list_models() -> ModelsAnswer:
        """The served model: manifest, labels, limits, hashes, runtime, device, and its versions."""
        return ModelsAnswer(
            models=[_served(service.rollout.active.classifier)],
            versions=service.rollout.versions(),
            limits=Limits(**settings.model_dump(include=set(Limits.model_fields))),
        )

    @router.post(
        "/models/{version}/activate",
        responses=openapi_responses(403, 404, 409, 422),
    )
    async def activate(credentials: Credentials, version: Version) -> ModelIdentity:
        """Load a version beside the one that serves, check it, and switch between two requests.

        A version that cannot be trusted is refused with the reason; the old one serves on.
        """
        require_admin(credentials)
        return await service.activate(version)

    @router.post(
        "/models/rollback",
        responses=openapi_responses(403, 404, 409),
    )
    async def roll_back(credentials: Credentials) -> ModelIdentity:
        """Switch back to the version that served before."""
        require_admin(credentials)
        return await service.roll_back()

    return router


def _served(classifier: Classifier) -> ServedModel:
    manifest, runtime = classifier.bundle.manifest, classifier.runtime
    return ServedModel(
        **classifier.identity.model_dump(),
        labels=manifest.labels,
        input=manifest.input,
        runtime=runtime.name,
        precision=runtime.precision,
        device=runtime.device,
        workers=runtime.n_workers,
        manifest=manifest,
    )
