"""The service behind the tile routes: admits tiles and has them classified."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from app.core.errors import (
    DeadlineError,
    ExplanationUnavailableError,
    InferenceError,
    OsteoError,
    OutOfMemoryError,
    TileError,
)
from app.inference.heatmap import Picture
from app.inference.results import TileResult
from app.serving.admission import Admission, UploadBudget
from app.serving.lifecycle import Lifecycle
from app.serving.tile_costs import TileCosts, TileKind, tile_kind
from app.serving.worker_pool import ActiveModel, Deadline
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import enter_queue, number_tile

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A request whose tiles have places in the queue.

    Attributes:
        model: stays open until the request ends.
        deadline: of the request.
        kinds: of its tiles; None for tiles that need no work.
        needed_s: by tile, the time from its turn to the end of the request.
        finish_one: releases the place of one finished tile.
    """

    model: ActiveModel
    deadline: Deadline
    kinds: Sequence[TileKind | None]
    needed_s: Sequence[float]
    finish_one: Callable[[], None]


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
        self._max_pixels = settings.max_tile_pixels
        self._costs = TileCosts()
        self._admission = Admission(
            settings.max_tiles_in_flight,
            min(settings.max_queue_s, settings.request_timeout_s / 2),
            metrics.tiles_in_flight.set,
        )
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
        n_workers = self._lifecycle.require_model().classifier.runtime.n_workers
        return self._admission.reserve(self._costs.mean_s / n_workers)

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
        async with self._admitted([tile_kind(tile_bytes, self._max_pixels)]) as admitted:
            admitted.model.classifier.require_label(explain)
            return await self._classify(admitted, 0, tile_bytes, explain)

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
        kind = tile_kind(tile_bytes, self._max_pixels, size_px)
        async with self._admitted([kind]) as admitted:
            classifier = admitted.model.classifier
            classifier.require_label(label)
            draw, now = classifier.classify_and_draw, time.perf_counter()
            work = partial(draw, tile_bytes, now, label, picture, size_px, opacity)
            result, drawn = await self._work(admitted, 0, work)
            self._count_answer(admitted.model, result)
            if isinstance(drawn, ExplanationUnavailableError):
                raise drawn
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
        kinds = [
            tile_kind(tile, self._max_pixels) if isinstance(tile, bytes) else None for tile in tiles
        ]
        async with self._admitted(kinds) as admitted:

            async def classify(index: int, tile: bytes | TileError) -> TileResult | OsteoError:
                number_tile(index)
                result: TileResult | OsteoError
                try:
                    result = await self._classify(admitted, index, tile, None)
                except (TileError, InferenceError) as error:
                    result = error.detached()  # a batch holds all of them at once
                admitted.finish_one()
                return result

            tasks = [asyncio.ensure_future(classify(*item)) for item in enumerate(tiles)]
            try:
                return await asyncio.gather(*tasks)
            finally:
                for task in tasks:  # if one raised, nobody waits for the others
                    task.cancel()

    @asynccontextmanager
    async def _admitted(self, kinds: Sequence[TileKind | None]) -> AsyncIterator[_Admitted]:
        """Admit tiles and keep the model open, until the deadline of a request."""
        model = self._lifecycle.require_model()
        costs_s = [self._costs.estimate_s(kind) if kind else 0.0 for kind in kinds]
        n_workers, left_s = model.classifier.runtime.n_workers, sum(costs_s)
        with self._admission.admit(len(kinds), left_s / n_workers) as finish_one, model.lease():
            needed_s = []
            for cost_s in costs_s:
                needed_s.append(max(cost_s, left_s / n_workers))
                left_s -= cost_s
            limit_s = self._request_timeout_s
            deadline = Deadline(time.monotonic() + limit_s, limit_s)
            try:
                async with asyncio.timeout(limit_s):
                    yield _Admitted(model, deadline, kinds, needed_s, finish_one)
            except TimeoutError:
                raise DeadlineError(limit_s) from None

    async def _classify(
        self, admitted: _Admitted, index: int, tile: bytes | TileError, explain: str | None
    ) -> TileResult:
        """Classify one tile and count the outcome."""
        if isinstance(tile, TileError):
            self._metrics.tile_problems.labels(tile.code).inc()
            raise tile
        classify = admitted.model.classifier.classify
        work = partial(classify, tile, time.perf_counter(), explain)
        result = await self._work(admitted, index, work)
        self._count_answer(admitted.model, result)
        return result

    async def _work(self, admitted: _Admitted, index: int, work: Callable[[], Done]) -> Done:
        """Work on one tile in a worker thread; count a failure, and learn how long it took."""
        kind = admitted.kinds[index]

        def learn(work_s: float) -> None:
            if kind is not None:
                self._costs.observe(kind, work_s)

        queued = enter_queue()
        try:
            return await admitted.model.run(
                work, admitted.deadline, admitted.needed_s[index], learn
            )
        except OsteoError as error:
            if isinstance(error, (TileError, InferenceError)):
                self._metrics.tile_problems.labels(error.code).inc()
            if isinstance(error, (InferenceError, OutOfMemoryError)):
                self._count_failure(error)
            raise
        except Exception as error:
            self._count_failure(error)
            raise
        finally:
            queued.end()  # of a tile whose turn never came

    def _count_failure(self, error: Exception) -> None:
        self._metrics.inference_failures.inc()
        self._lifecycle.count_failure(error)

    def _count_answer(self, model: ActiveModel, result: TileResult) -> None:
        timing, probability = result.timing, result.probabilities[result.prediction]
        self._metrics.observe_timing(**dict(timing))
        distance = result.checks.distance
        self._metrics.observe_answer(
            result.prediction, probability, distance, result.review.reasons
        )
        if model.drift is not None:
            model.drift.observe(result.prediction, probability, distance)
        self._lifecycle.readiness.count_success()
