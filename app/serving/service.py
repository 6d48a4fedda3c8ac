"""The service behind the routes: admits tiles, has them classified, knows whether it is ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from app.api.problems import kind_of
from app.api.schemas import ModelIdentity, TileResult
from app.core.errors import (
    ActivationError,
    BundleError,
    DeadlineError,
    ExplanationUnavailableError,
    InferenceError,
    ModelNotFoundError,
    NotReadyError,
    OsteoError,
    TileError,
)
from app.inference.classifier import Classifier
from app.inference.explanation import Picture
from app.serving.admission import Admission, UploadBudget
from app.serving.loading import RuntimeOpener, open_classifier, open_configured_runtime
from app.serving.rollout import ActiveModel, Rollout
from app.settings import Settings
from app.telemetry.logs import LOGGER_NAME
from app.telemetry.metrics import Metrics

LOADING = "the model is being loaded"
DRAINING = "the service is shutting down"
STOPPED = "the service was not started"
MAX_FAILURES_IN_A_ROW = 5
"""Readiness goes off after so many tiles without a usable answer, and on after a good one."""
RECOVERY_PERIOD_S = 2.0
"""How often the golden tiles are asked whether the model answers again."""

_logger = logging.getLogger(LOGGER_NAME)


class TileService:
    """One model at work. All methods are for the event loop; tiles are worked on off it."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        opener: RuntimeOpener = open_configured_runtime,
    ) -> None:
        """Prepare; `start` loads the model.

        Args:
            settings: read-only.
            metrics: where tiles are counted.
            opener: makes the runtime of a bundle; tests pass a fake.
        """
        self._settings = settings
        self._metrics = metrics
        self.rollout = Rollout(
            settings, metrics, lambda version: open_classifier(settings, metrics, opener, version)
        )
        self.admission = Admission(settings.max_tiles_in_flight, metrics.tiles_in_flight.set)
        self.uploads = UploadBudget(settings.max_upload_bytes, metrics.upload_bytes.set)
        self._tasks: list[asyncio.Task[None]] = []
        self._unready_reason: str | None = STOPPED
        self._is_draining = False
        self._n_failures_in_a_row = 0

    @property
    def unready_reason(self) -> str | None:
        """Why the service is not ready; None while it is."""
        return self._unready_reason

    @property
    def is_draining(self) -> bool:
        """Whether the end has begun."""
        return self._is_draining

    def start(self) -> None:
        """Load the model in the background, so that the liveness probe answers meanwhile."""
        self._is_draining = False
        self._set_unready(LOADING)
        self._spawn(self._load())

    def begin_drain(self) -> None:
        """Turn readiness off; requests that come while the port is still open are answered."""
        self._set_unready(DRAINING)
        self._is_draining = True

    async def stop(self) -> None:
        """Give everything back once the last tile has left."""
        self.begin_drain()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.rollout.close()

    async def activate(self, version: str) -> ModelIdentity:
        """Switch to a version; see `Rollout.activate`."""
        return self._now_serving(await self.rollout.activate(version))

    async def roll_back(self) -> ModelIdentity:
        """Switch back; see `Rollout.roll_back`."""
        return self._now_serving(await self.rollout.roll_back())

    def require_model(self) -> ActiveModel:
        """The model that serves.

        Raises:
            NotReadyError: none is loaded, with the reason.
        """
        if not self.rollout.has_model:
            raise NotReadyError(self._unready_reason or LOADING)
        return self.rollout.active

    async def classify(self, tile_bytes: bytes, explain: str | None = None) -> TileResult:
        """Classify one tile; see `classify_each` for what it raises beside `TileError`."""
        async with self._at_work(1) as (model, _):
            model.classifier.require_label(explain)
            result = await self._classify(model, tile_bytes, explain)
        if isinstance(result, OsteoError):
            raise result
        return result

    async def explain(
        self, tile_bytes: bytes, label: str, picture: Picture, size_px: int, opacity: float
    ) -> tuple[TileResult, bytes]:
        """Classify one tile and draw where the evidence lies; the model runs once.

        Returns:
            The answer, and the picture as a PNG file; see `Classifier.draw`.

        Raises:
            ExplanationUnavailableError: there is nothing to draw.
        """
        async with self._at_work(1) as (model, _):
            model.classifier.require_label(label)
            result = await self._classify(model, tile_bytes, label)
            if isinstance(result, OsteoError):
                raise result
            draw, explanation = model.classifier.draw, result.explanation
            if explanation is None:
                raise ExplanationUnavailableError(label, "none was made")
            drawn = await model.run(
                lambda: draw(tile_bytes, explanation, picture, size_px, opacity)
            )
            return result, drawn

    async def classify_each(
        self, tiles: Sequence[bytes | TileError], explain: str | None = None
    ) -> list[TileResult | OsteoError]:
        """Classify several tiles; one that fails leaves its error in its place.

        Cancelled, by a deadline or because the client went away, tiles that still wait are never
        worked on.

        Args:
            tiles: encoded tiles; an error stands for a tile that was refused on its way in.
            explain: the label whose evidence is asked for, or `PREDICTED`.

        Raises:
            UnknownLabelError: the model has no label `explain`.
            NotReadyError: no model is loaded.
            QueueFullError: there is no room for all of them.
            DeadlineError: they took too long.
        """
        async with self._at_work(len(tiles)) as (model, finish_one):
            model.classifier.require_label(explain)

            async def classify(tile: bytes | TileError) -> TileResult | OsteoError:
                result = await self._classify(model, tile, explain)
                finish_one()
                return result

            return await asyncio.gather(*map(classify, tiles))

    @asynccontextmanager
    async def _at_work(self, n_tiles: int) -> AsyncIterator[tuple[ActiveModel, Callable[[], None]]]:
        """Room for some tiles and a model that stays open, for as long as a request may take."""
        model = self.require_model()
        limit_s = self._settings.request_timeout_s
        with self.admission.admit(n_tiles) as finish_one, model.lease():
            try:
                async with asyncio.timeout(limit_s):
                    yield model, finish_one
            except TimeoutError:
                raise DeadlineError(limit_s) from None

    async def _classify(
        self, model: ActiveModel, tile: bytes | TileError, explain: str | None
    ) -> TileResult | OsteoError:
        try:
            if isinstance(tile, TileError):
                raise tile
            result = await model.classify(tile, explain)
        except TileError as error:
            self._metrics.tile_problems.labels(kind_of(error).slug).inc()
            return error
        except InferenceError as error:
            self._metrics.tile_problems.labels(kind_of(error).slug).inc()
            self._count_failure(error)
            return error
        self._observe(model, result)
        return result

    def _observe(self, model: ActiveModel, result: TileResult) -> None:
        timing, probability = result.timing, result.probabilities[result.prediction]
        n_workers = model.classifier.runtime.n_workers
        self.admission.observe_tile(timing.decode_s + timing.inference_s, n_workers)
        self._metrics.observe_timing(**dict(timing))
        distance = result.checks.distance
        self._metrics.observe_answer(
            result.prediction, probability, distance, result.review.reasons
        )
        if model.drift is not None:
            model.drift.observe(result.prediction, probability, distance)
        if self._n_failures_in_a_row:
            self._n_failures_in_a_row = 0
            self._set_ready()

    def _count_failure(self, error: InferenceError) -> None:
        self._metrics.inference_failures.inc()
        self._n_failures_in_a_row += 1
        _logger.error("inference_failed", extra={"reason": str(error)})
        if self._n_failures_in_a_row == MAX_FAILURES_IN_A_ROW:
            self._set_unready(f"the model failed {MAX_FAILURES_IN_A_ROW} times in a row")
            self._spawn(self._recover())

    def _now_serving(self, classifier: Classifier) -> ModelIdentity:
        self._n_failures_in_a_row = 0
        self._set_ready()
        return classifier.identity

    async def _load(self) -> None:
        try:
            await self.rollout.activate(self._settings.model_version)
        except (ActivationError, ModelNotFoundError) as error:
            reason = error.__cause__ or error
            self._set_unready(str(reason))
            _logger.critical("not_ready", extra={"reason": str(reason)})
        else:
            self._set_ready()
        if self._settings.watch_models_s:
            await self.rollout.watch(self._settings.watch_models_s, self._set_ready)

    async def _recover(self) -> None:
        """Ask the golden tiles until they are right: no load balancer sends a tile meanwhile."""
        while self._n_failures_in_a_row:
            await asyncio.sleep(RECOVERY_PERIOD_S)
            try:
                await asyncio.to_thread(self.require_model().classifier.check)
            except (BundleError, InferenceError):
                continue
            self._n_failures_in_a_row = 0
            self._set_ready()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run in the background; a defect in it is logged and shows at the readiness probe."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._log_defect)
        self._tasks.append(task)

    def _log_defect(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _logger.critical("background_task_failed", exc_info=error)
            if not self.rollout.has_model:
                self._set_unready("the model could not be loaded; the log says why")

    def _set_ready(self) -> None:
        if not self.is_draining:
            self._unready_reason = None
            self._metrics.ready.set(1)

    def _set_unready(self, reason: str) -> None:
        if not self.is_draining:
            self._unready_reason = reason
            self._metrics.ready.set(0)
