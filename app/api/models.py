"""Routes that describe the model that serves, and switch its version."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path

from app.api.openapi import problem_responses
from app.api.schemas import Limits, ModelsAnswer, ServedModel
from app.core.manifest import VERSION_PATTERN
from app.inference.classifier import Classifier
from app.inference.results import ModelIdentity
from app.serving.lifecycle import Lifecycle
from app.settings import Settings

Version = Annotated[str, Path(pattern=VERSION_PATTERN, description="The version to activate.")]
_SWITCH_CODES: Final = ("model-not-found", "activation-refused")


def build_router(lifecycle: Lifecycle, settings: Settings) -> APIRouter:
    """The routes, bound to the model of a service."""
    router = APIRouter(prefix="/v1", tags=["models"])

    @router.get("/models", responses=problem_responses("not-ready", needs_scope=False))
    async def list_models() -> ModelsAnswer:
        """The model that serves, its manifest and runtime, all versions and the limits."""
        return ModelsAnswer(
            models=[_served(lifecycle.require_model().classifier)],
            versions=lifecycle.versions(),
            limits=Limits(**settings.model_dump(include=set(Limits.model_fields))),
        )

    @router.post(
        "/models/{version}/activate",
        responses=problem_responses(*_SWITCH_CODES, "invalid-request"),
    )
    async def activate_version(version: Version) -> ModelIdentity:
        """Load a version, check it, and switch to it without interrupting requests.

        A version that fails verification is not activated; the previous version keeps serving.
        """
        return await lifecycle.activate(version)

    @router.post(
        "/models/rollback",
        responses=problem_responses(*_SWITCH_CODES),
    )
    async def roll_back() -> ModelIdentity:
        """Switch back to the previous version."""
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
