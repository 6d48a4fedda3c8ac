"""The service behind the routes: loads a model, admits tiles, classifies them on worker threads."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from app.bundle import Bundle, find_bundle, open_bundle
from app.classify import Classifier
from app.core.errors import (
    BundleError,
    InferenceError,
    NotReadyError,
    OsteoError,
    RuntimeUnavailableError,
    TileError,
)
from app.logs import LOGGER_NAME
from app.metrics import Metrics
from app.problems import kind_of
from app.runtime.protocol import Runtime
from app.runtime.select import open_runtime
from app.scheduling import Admission
from app.schemas import TileResult
from app.settings import Settings

LOADING: Final = "the model is being loaded"
DRAINING: Final = "the service is shutting down"
STOPPED: Final = "the service was not started"

RuntimeOpener = Callable[[Bundle, Settings], Runtime]

_logger = logging.getLogger(LOGGER_NAME)


def open_configured_runtime(bundle: Bundle, settings: Settings) -> Runtime:
    """The runtime the settings ask for."""
    return open_runtime(bundle, settings.runtime, settings.workers)


def open_classifier(
    settings: Settings, opener: RuntimeOpener = open_configured_runtime
) -> Classifier:
    """Open the configured bundle, verified, in the configured runtime.

    Raises:
        BundleError: there is no such bundle, or it is not the released one.
        RuntimeUnavailableError: the runtime cannot be used here.
    """
    path = find_bundle(settings.models_dir, settings.model_name, settings.model_version)
    bundle = open_bundle(path)
    return Classifier(bundle, opener(bundle, settings), settings.tile_limits)


class TileService:
    """One model at work. All methods are for the event loop; `classify` moves work off it."""

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
        self._opener = opener
        self._classifier: Classifier | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._admission: Admission | None = None
        self._loading: asyncio.Task[None] | None = None
        self._unready_reason: str | None = STOPPED

    @property
    def unready_reason(self) -> str | None:
        """Why tiles are refused; None while they are not."""
        return self._unready_reason

    @property
    def is_draining(self) -> bool:
        """Whether the end has begun."""
        return self._unready_reason == DRAINING

    def start(self) -> None:
        """Load the model in the background, so that the liveness probe answers meanwhile."""
        self._set_unready(LOADING)
        self._loading = asyncio.get_running_loop().create_task(self._load())

    def begin_drain(self) -> None:
        """Turn readiness off; requests that come while the port is still open are answered."""
        self._set_unready(DRAINING)

    async def stop(self) -> None:
        """Give everything back; no tile may be in flight."""
        self._set_unready(DRAINING)
        if self._loading is not None:
            await self._loading
        if self._pool is not None:
            self._pool.shutdown()
        if self._classifier is not None:
            self._classifier.close()

    def require_classifier(self) -> Classifier:
        """The model that answers.

        Raises:
            NotReadyError: there is none (yet).
        """
        if self._classifier is None:
            raise NotReadyError(self._unready_reason or LOADING)
        return self._classifier

    async def classify(self, tile_bytes: bytes) -> TileResult:
        """Classify one tile.

        Raises:
            NotReadyError: no model is loaded.
            QueueFullError: too many tiles are in flight.
            TileError: the bytes are no tile.
            InferenceError: the model gave no usable answer.
        """
        (result,) = await self.classify_each([tile_bytes])
        if isinstance(result, OsteoError):
            raise result
        return result

    async def classify_each(
        self, tiles: Sequence[bytes | TileError]
    ) -> list[TileResult | OsteoError]:
        """Classify several tiles; one that fails leaves its error in its place.

        Args:
            tiles: encoded tiles; an error stands for a tile that was refused on its way in.

        Raises:
            NotReadyError: no model is loaded.
            QueueFullError: there is no room for all of them.
        """
        classifier = self.require_classifier()
        if self._admission is None:
            raise NotReadyError(LOADING)
        with self._admission.admit(len(tiles)):
            return await asyncio.gather(*(self._classify_one(classifier, tile) for tile in tiles))

    async def _classify_one(
        self, classifier: Classifier, tile: bytes | TileError
    ) -> TileResult | OsteoError:
        try:
            if isinstance(tile, TileError):
                raise tile
            queued_at = time.perf_counter()
            result = await asyncio.get_running_loop().run_in_executor(
                self._pool, classifier.classify, tile, queued_at
            )
        except (TileError, InferenceError) as error:
            self._metrics.tile_problems.labels(kind_of(error).slug).inc()
            return error
        self._observe(result)
        return result

    def _observe(self, result: TileResult) -> None:
        timing = result.timing
        if self._admission is not None:
            self._admission.observe_tile(timing.decode_s + timing.inference_s)
        self._metrics.observe_tile(
            result.prediction,
            decode_s=timing.decode_s,
            queue_s=timing.queue_s,
            inference_s=timing.inference_s,
        )

    async def _load(self) -> None:
        started = time.perf_counter()
        try:
            classifier = await asyncio.to_thread(self._open_checked)
        except (BundleError, RuntimeUnavailableError, InferenceError) as error:
            self._set_unready(str(error))
            _logger.critical("model_refused", extra={"reason": str(error)})
            return
        n_workers = classifier.runtime.n_workers
        self._pool = ThreadPoolExecutor(n_workers, thread_name_prefix="tile")
        self._admission = Admission(
            self._settings.max_tiles_in_flight, n_workers, self._metrics.tiles_in_flight.set
        )
        self._classifier = classifier
        self._announce(classifier, time.perf_counter() - started)

    def _open_checked(self) -> Classifier:
        classifier = open_classifier(self._settings, self._opener)
        classifier.check()
        return classifier

    def _announce(self, classifier: Classifier, load_s: float) -> None:
        identity, runtime = classifier.identity, classifier.runtime
        self._metrics.model_info.labels(
            identity.name, identity.version, identity.bundle_sha256, runtime.name, runtime.device
        ).set(1)
        _logger.info(
            "model_ready",
            extra={
                "model_name": identity.name,
                "model_version": identity.version,
                "bundle_sha256": identity.bundle_sha256,
                "runtime": runtime.name,
                "device": runtime.device,
                "workers": runtime.n_workers,
                "load_s": round(load_s, 3),
            },
        )
        if self._unready_reason == LOADING:  # a drain that began meanwhile stands
            self._unready_reason = None
            self._metrics.ready.set(1)

    def _set_unready(self, reason: str) -> None:
        self._unready_reason = reason
        self._metrics.ready.set(0)
