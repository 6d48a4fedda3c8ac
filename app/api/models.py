"""Routes that describe the model that serves, and switch its version."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.problems import openapi_responses
from app.api.schemas import Limits, ModelsAnswer, ServedModel
from app.core.errors import AdminDeniedError
from app.core.manifest import VERSION_PATTERN
from app.inference.classifier import Classifier
from app.inference.results import ModelIdentity
from app.serving.lifecycle import Lifecycle
from app.settings import Settings

Credentials = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="The service's OSTEO_ADMIN_TOKEN.")),
]
Version = Annotated[str, Path(pattern=VERSION_PATTERN, description="The version to activate.")]


def build_router(lifecycle: Lifecycle, settings: Settings) -> APIRouter:
    """The routes, bound to the model of a service."""
    router = APIRouter(prefix="/v1", tags=["models"])

    def require_admin(credentials: HTTPAuthorizationCredentials | None) -> None:
        token = settings.admin_token
        if token is None:
            raise AdminDeniedError("Changing the model is disabled: OSTEO_ADMIN_TOKEN is not set.")
        given = credentials.credentials if credentials else ""
        if not secrets.compare_digest(given.encode(), token.get_secret_value().encode()):
            raise AdminDeniedError("Send the header Authorization: Bearer OSTEO_ADMIN_TOKEN.")

    @router.get("/models", responses=openapi_responses(503))
    async def list_models() -> ModelsAnswer:
        """The model that serves, its manifest and runtime, all versions and the limits."""
        return ModelsAnswer(
            models=[_served(lifecycle.require_model().classifier)],
            versions=lifecycle.versions(),
            limits=Limits(**settings.model_dump(include=set(Limits.model_fields))),
        )

    @router.post(
        "/models/{version}/activate",
        responses=openapi_responses(403, 404, 409, 422),
    )
    async def activate(credentials: Credentials, version: Version) -> ModelIdentity:
        """Load a version, check it, and switch to it without interrupting requests.

        A version that fails verification is not activated; the previous version keeps serving.
        """
        require_admin(credentials)
        return await lifecycle.activate(version)

    @router.post(
        "/models/rollback",
        responses=openapi_responses(403, 404, 409),
    )
    async def roll_back(credentials: Credentials) -> ModelIdentity:
        """Switch back to the previous version."""
        require_admin(credentials)
        return await lifecycle.roll_back()

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
