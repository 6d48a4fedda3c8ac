"""The service behind the tile routes: admits tiles and has them classified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager

from app.core.errors import (
    DeadlineError,
    ExplanationUnavailableError,
    InferenceError,
    OsteoError,
    TileError,
)
from app.inference.heatmap import Picture
from app.inference.results import TileResult
from app.serving.admission import Admission, UploadBudget
from app.serving.lifecycle import Lifecycle
from app.serving.worker_pool import ActiveModel
from app.settings import Settings
from app.telemetry.metrics import Metrics


class TileService:
    """Classifies and explains tiles on worker threads; used from the event loop only."""

    def __init__(self, settings: Settings, metrics: Metrics, lifecycle: Lifecycle) -> None:
        """Start with an empty queue.

        Args:
            settings: limits on tiles in flight, upload bytes and time.
            metrics: counts tiles.
            lifecycle: the model, and whether it is ready.
        """
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._request_timeout_s = settings.request_timeout_s
        self._admission = Admission(settings.max_tiles_in_flight, metrics.tiles_in_flight.set)
        self._uploads = UploadBudget(settings.max_upload_bytes, metrics.upload_bytes.set)

    @property
    def unready_reason(self) -> str | None:
        """Why the service is not ready; None if it is."""
        return self._lifecycle.readiness.reason

    @property
    def is_draining(self) -> bool:
        """Whether the service is shutting down."""
        return self._lifecycle.readiness.is_draining

    @property
    def n_tiles_in_flight(self) -> int:
        """Tiles waiting or being classified."""
        return self._admission.n_tiles

    def begin_drain(self) -> None:
        """Turn readiness off; requests that still arrive are answered."""
        self._lifecycle.readiness.begin_drain()

    def reserve_place(self) -> Callable[[], None]:
        """Reserve a place in the queue for a tile; see `Admission.reserve`.

        Raises:
            NotReadyError: no model is loaded.
            QueueFullError: the queue is full.
        """
        self._lifecycle.require_model()
        return self._admission.reserve()

    def track_upload(self) -> AbstractContextManager[Callable[[int], None]]:
        """Count the bytes of one upload; see `UploadBudget.track`."""
        return self._uploads.track()

    async def classify(self, tile_bytes: bytes, explain: str | None = None) -> TileResult:
        """Classify one tile.

        Args:
            tile_bytes: an encoded tile.
            explain: the label to explain, or `PREDICTED`; None for no explanation.

        Raises:
            TileError: the tile cannot be classified.
            InferenceError: the model gave no usable answer.
            UnknownLabelError: the model has no label `explain`.
            NotReadyError: no model is loaded.
            QueueFullError: the queue is full.
            DeadlineError: it took too long.
        """
        async with self._admitted(1) as (model, _):
            model.classifier.require_label(explain)
            return await self._classify(model, tile_bytes, explain)

    async def explain(
        self, tile_bytes: bytes, label: str, picture: Picture, size_px: int, opacity: float
    ) -> tuple[TileResult, bytes]:
        """Classify one tile and draw its evidence map; the model runs once.

        Returns:
            The result, and the picture as a PNG file; see `Classifier.draw`.

        Raises:
            ExplanationUnavailableError: there is nothing to draw.
            OsteoError: what `classify` raises.
        """
        async with self._admitted(1) as (model, _):
            model.classifier.require_label(label)
            result = await self._classify(model, tile_bytes, label)
            draw, explanation = model.classifier.draw, result.explanation
            if explanation is None:
                raise ExplanationUnavailableError(label, "the result holds none")
            drawn = await model.run(
                lambda: draw(tile_bytes, explanation, picture, size_px, opacity)
            )
            return result, drawn

    async def classify_each(
        self, tiles: Sequence[bytes | TileError]
    ) -> list[TileResult | OsteoError]:
        """Classify several tiles; the result of a tile that fails is its error.

        If this is cancelled, by the deadline or because the client disconnected, tiles that still
        wait are never classified.

        Args:
            tiles: encoded tiles; an error takes the place of a tile that was too large to receive.

        Raises:
            NotReadyError: no model is loaded.
            QueueFullError: the queue has no room for all of them.
            DeadlineError: they took too long.
        """
        async with self._admitted(len(tiles)) as (model, finish_one):

            async def classify(tile: bytes | TileError) -> TileResult | OsteoError:
                result: TileResult | OsteoError
                try:
                    result = await self._classify(model, tile, None)
                except (TileError, InferenceError) as error:
                    result = error.detached()  # a batch holds all of them at once
                finish_one()
                return result

            return await asyncio.gather(*map(classify, tiles))

    @asynccontextmanager
    async def _admitted(
        self, n_tiles: int
    ) -> AsyncIterator[tuple[ActiveModel, Callable[[], None]]]:
        """Admit tiles and keep the model open, until the deadline of a request."""
        model = self._lifecycle.require_model()
        with self._admission.admit(n_tiles) as finish_one, model.lease():
            try:
                async with asyncio.timeout(self._request_timeout_s):
                    yield model, finish_one
            except TimeoutError:
                raise DeadlineError(self._request_timeout_s) from None

    async def _classify(
        self, model: ActiveModel, tile: bytes | TileError, explain: str | None
    ) -> TileResult:
        """Classify one tile and count the outcome."""
        try:
            if isinstance(tile, TileError):
                raise tile
            result = await model.classify(tile, explain)
        except (TileError, InferenceError) as error:
            self._metrics.tile_problems.labels(error.code).inc()
            if isinstance(error, InferenceError):
                self._metrics.inference_failures.inc()
                self._lifecycle.count_failure(error)
            raise
        self._count_answer(model, result)
        return result

    def _count_answer(self, model: ActiveModel, result: TileResult) -> None:
        timing, probability = result.timing, result.probabilities[result.prediction]
        n_workers = model.classifier.runtime.n_workers
        self._admission.observe_tile(timing.decode_s + timing.inference_s, n_workers)
        self._metrics.observe_timing(**dict(timing))
        distance = result.checks.distance
        self._metrics.observe_answer(
            result.prediction, probability, distance, result.review.reasons
        )
        if model.drift is not None:
            model.drift.observe(result.prediction, probability, distance)
        self._lifecycle.readiness.count_success()
