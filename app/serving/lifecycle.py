"""From start to drain: load the model, and check a failing one until it recovers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from app.core.errors import (
    ActivationError,
    ModelNotFoundError,
    NotReadyError,
    OsteoError,
)
from app.inference.results import ModelIdentity
from app.serving.loading import RuntimeOpener, open_classifier
from app.serving.readiness import LOADING, Readiness
from app.serving.rollout import ModelSwitch, Rollout
from app.serving.version_watcher import VersionWatcher
from app.serving.worker_pool import ActiveModel
from app.settings import Settings
from app.telemetry.logs import LOGGER_NAME
from app.telemetry.metrics import Metrics

RECOVERY_PERIOD_S: Final = 2.0
"""How often a failing model is checked with its golden tiles."""
_WATCH_THREADS_S: Final = 1.0

_logger = logging.getLogger(LOGGER_NAME)


class Lifecycle:
    """The model of a service and its background tasks; used from the event loop only."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        opener: RuntimeOpener,
        on_switch: Callable[[ModelSwitch], None] = lambda _switch: None,
    ) -> None:
        """Prepare; `start` loads the model. `on_switch` is called after each switch of version."""
        self._settings = settings
        self._rollout = Rollout(
            settings,
            metrics,
            lambda version: open_classifier(settings, metrics, opener, version),
            on_switch,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.readiness = Readiness(metrics.ready.set)

    def start(self) -> None:
        """Load the model in the background, so that the liveness probe answers meanwhile."""
        self.readiness.begin_loading()
        self._spawn(self._load())
        self._spawn(self._watch_threads())

    async def stop(self) -> None:
        """Drain, cancel the background tasks, and close the model after its last tile."""
        self.readiness.begin_drain()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._rollout.close()

    def require_model(self) -> ActiveModel:
        """The model that serves.

        Raises:
            NotReadyError: no model is loaded, with the reason.
        """
        if self._rollout.active is None:
            raise NotReadyError(self.readiness.reason or LOADING)
        return self._rollout.active

    def versions(self) -> list[str]:
        """Versions in the models folder, oldest first, valid or not."""
        return self._rollout.versions()

    async def activate(self, version: str) -> ModelIdentity:
        """Switch to a version; see `Rollout.activate`."""
        identity = await self._rollout.activate(version)
        self.readiness.set_ready()
        return identity

    async def roll_back(self) -> ModelIdentity:
        """Switch back; see `Rollout.roll_back`."""
        identity = await self._rollout.roll_back()
        self.readiness.set_ready()
        return identity

    def count_failure(self, error: Exception) -> None:
        """Log a failure; after several in a row, check the model until it recovers."""
        reason = str(error) if isinstance(error, OsteoError) else repr(error)
        _logger.error("inference_failed", extra={"reason": reason})
        if self.readiness.count_failure():
            self._spawn(self._recover())

    async def _load(self) -> None:
        try:
            await self._rollout.activate(self._settings.model_version)
        except (ActivationError, ModelNotFoundError) as error:
            reason = error.reason if isinstance(error, ActivationError) else str(error.__cause__)
            self.readiness.set_unready(reason)
            _logger.critical(
                "not_ready",
                extra={"reason": reason, "models_dir": str(self._settings.models_dir)},
            )
        else:
            self.readiness.set_ready()
        if self._settings.watch_models_s:
            period_s = self._settings.watch_models_s
            await VersionWatcher(self._rollout, period_s, self.readiness.set_ready).watch()

    async def _recover(self) -> None:
        """Check the golden tiles until they pass: an unready service receives no tiles."""
        while self.readiness.is_failing:
            await asyncio.sleep(RECOVERY_PERIOD_S)
            try:
                await asyncio.to_thread(self.require_model().classifier.check)
            except Exception as error:  # noqa: BLE001 - whatever fails now may work the next time
                _logger.warning("recovery_failed", extra={"reason": repr(error)})
                continue
            self.readiness.set_ready()

    async def _watch_threads(self) -> None:
        """Turn readiness off while a worker thread is stuck: no thread can be ended."""
        while True:
            await asyncio.sleep(_WATCH_THREADS_S)
            model = self._rollout.active
            n_stuck = model.n_stuck_threads() if model else 0
            if self.readiness.set_stuck(n_stuck):
                _logger.error("stuck_threads", extra={"n_threads": n_stuck})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run in the background; an unexpected error is logged."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._log_unexpected_error)
        self._tasks.append(task)

    def _log_unexpected_error(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _logger.critical("background_task_failed", exc_info=error)
            if self._rollout.active is None:
                self.readiness.set_unready("the model could not be loaded; see the log")
