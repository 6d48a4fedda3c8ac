"""Version rollout: load a version beside the one that serves, check it, switch, roll back."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from app.bundle import list_versions
from app.core.bundle_errors import BundleError, BundleNotFoundError
from app.core.errors import (
    ActivationError,
    InferenceError,
    ModelNotFoundError,
    NoPreviousVersionError,
    RuntimeUnavailableError,
)
from app.core.manifest import MANIFEST_NAME, sha256_of_file
from app.inference.classifier import Classifier
from app.inference.drift import QUANTITIES
from app.inference.results import ModelIdentity
from app.serving.worker_pool import ActiveModel
from app.settings import Settings
from app.telemetry.logs import LOGGER_NAME
from app.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class ModelSwitch:
    """The version that serves was switched.

    Attributes:
        previous: the model that served; None for the first.
        current: the model that serves now.
        runtime: its runtime.
        precision: of its computation.
    """

    previous: ModelIdentity | None
    current: ModelIdentity
    runtime: str
    precision: str


ClassifierOpener = Callable[[str | None], Classifier]
"""Opens a version, or the newest for None."""

_LOAD_ERRORS: Final = (BundleError, RuntimeUnavailableError, InferenceError)
"""Errors that say why a version is not activated."""

_logger = logging.getLogger(LOGGER_NAME)


class Rollout:
    """Holds the version that serves. Switching is one assignment on the event loop."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        opener: ClassifierOpener,
        on_switch: Callable[[ModelSwitch], None] = lambda _switch: None,
    ) -> None:
        """Start without a model; see `activate`.

        Args:
            settings: where the versions are.
            metrics: counts switches.
            opener: opens a version.
            on_switch: called on the event loop after each switch.
        """
        self._on_switch = on_switch
        self._settings = settings
        self._metrics = metrics
        self._opener = opener
        self._active: ActiveModel | None = None
        self._previous_version: str | None = None
        self._switching = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._newest_activated = 0

    @property
    def active(self) -> ActiveModel | None:
        """The model that serves; None before one is loaded."""
        return self._active

    @property
    def newest_activated(self) -> int:
        """The highest version that has served; 0 if there is none."""
        return self._newest_activated

    def folder_of(self, version: str) -> Path:
        """The folder of a version."""
        return self._settings.models_dir / self._settings.model_name / version

    def versions(self) -> list[str]:
        """Versions in the models folder, oldest first, valid or not."""
        return list_versions(self._settings.models_dir, self._settings.model_name)

    async def activate(self, version: str | None) -> ModelIdentity:
        """Load a version beside the one that serves, check it, then switch.

        The version that serves stays as it is, unless its folder now holds another bundle.

        Args:
            version: a version folder; the newest for None.

        Raises:
            ModelNotFoundError: there is no such version.
            ActivationError: it failed verification or cannot run; the previous version keeps
                serving. `__cause__` is the error.
        """
        async with self._switching:
            if self._active is not None and await asyncio.to_thread(self._serves, version):
                return self._active.classifier.identity
            started = time.perf_counter()
            try:
                classifier = await asyncio.to_thread(self._opener, version)
                model = self._start(classifier)
            except BundleNotFoundError as error:
                raise ModelNotFoundError(self._settings.model_name, version) from error
            except Exception as error:
                reason = _refusal(error)
                self._metrics.model_swaps.labels("refused").inc()
                _logger.warning(
                    "model_refused",
                    extra={"version": version, "reason": reason},
                    exc_info=None if isinstance(error, _LOAD_ERRORS) else error,
                )
                raise ActivationError(version or "newest", reason) from error
            previous = self._active.classifier.identity if self._active else None
            self._switch_to(model)
            self._announce(model, time.perf_counter() - started)
            runtime = classifier.runtime
            self._on_switch(
                ModelSwitch(previous, classifier.identity, runtime.name, runtime.precision)
            )
            return classifier.identity

    async def roll_back(self) -> ModelIdentity:
        """Activate the previous version.

        Raises:
            NoPreviousVersionError: no other version has served.
            ModelNotFoundError: its folder is gone.
            ActivationError: it cannot be activated any more.
        """
        if self._previous_version is None:
            raise NoPreviousVersionError(self._settings.model_name)
        return await self.activate(self._previous_version)

    async def close(self) -> None:
        """Close the model that serves and wait for those still closing."""
        last, self._active = self._active, None
        if last is not None:
            await last.close()
        await asyncio.gather(*self._closing)

    def _serves(self, version: str | None) -> bool:
        """Whether the folder of a version holds the bundle that serves."""
        if self._active is None or version is None:
            return False
        identity = self._active.classifier.identity
        try:
            on_disk = sha256_of_file(self.folder_of(version) / MANIFEST_NAME)
        except OSError:  # loading it says why
            return False
        return (version, on_disk) == (identity.version, identity.bundle_sha256)

    def _start(self, classifier: Classifier) -> ActiveModel:
        try:
            return ActiveModel(
                classifier, self._metrics.tiles_waiting.inc, self._settings.drift_window_tiles
            )
        except RuntimeUnavailableError:
            classifier.close()  # here, as a thread to wait in might not start either
            raise

    def _switch_to(self, new: ActiveModel) -> None:
        old, self._active = self._active, new
        self._newest_activated = max(self._newest_activated, int(new.classifier.identity.version))
        if old is not None:
            old_version = old.classifier.identity.version
            if old_version != new.classifier.identity.version:
                self._previous_version = old_version
            closing = asyncio.get_running_loop().create_task(old.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _announce(self, model: ActiveModel, load_s: float) -> None:
        identity, runtime = model.classifier.identity, model.classifier.runtime
        self._metrics.model_swaps.labels("activated").inc()
        self._metrics.set_model(
            identity.name,
            identity.version,
            identity.bundle_sha256,
            runtime.name,
            runtime.precision,
            runtime.device,
        )
        drift = model.drift
        for quantity in QUANTITIES:
            self._metrics.watch_drift(
                quantity, partial(drift.index, quantity) if drift else lambda: math.nan
            )
        _logger.info(
            "model_ready",
            extra={
                "model_name": identity.name,
                "model_version": identity.version,
                "bundle_sha256": identity.bundle_sha256,
                "runtime": runtime.name,
                "precision": runtime.precision,
                "device": runtime.device,
                "workers": runtime.n_workers,
                "load_s": round(load_s, 3),
            },
        )


def _refusal(error: Exception) -> str:
    """Say why a version was not activated, without the server's folders."""
    if isinstance(error, _LOAD_ERRORS):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory to load it beside the version that serves."
    if isinstance(error, OSError):
        return f"Its files cannot be read ({error.strerror or 'input/output error'})."
    return f"It could not be loaded ({type(error).__name__}); see the log."
