"""Which version serves: load beside the old one, check, switch between two requests, roll back."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

from app.api.schemas import TileResult
from app.bundle import list_versions
from app.core.errors import (
    ActivationError,
    BundleError,
    BundleNotFoundError,
    InferenceError,
    ModelNotFoundError,
    NotReadyError,
    OsteoError,
    RuntimeUnavailableError,
)
from app.inference.classifier import Classifier
from app.inference.drift import QUANTITIES, DriftWatch
from app.runtime.cores import lower_thread_priority
from app.settings import Settings
from app.telemetry.logs import LOGGER_NAME
from app.telemetry.metrics import Metrics

ClassifierOpener = Callable[[str | None], Classifier]
"""Opens a version, or the newest for None; raises what `LOAD_ERRORS` names."""

LOAD_ERRORS = (BundleError, RuntimeUnavailableError, InferenceError)
"""Why a version is not taken into service."""

Done = TypeVar("Done")

_logger = logging.getLogger(LOGGER_NAME)


class ActiveModel:
    """A checked classifier with threads of its own; it outlives its last tile, not longer."""

    def __init__(
        self, classifier: Classifier, on_waiting: Callable[[int], None], drift_window_tiles: int
    ) -> None:
        """Start the threads.

        Args:
            classifier: checked.
            on_waiting: called with 1 when a tile begins to wait for a thread, with -1 when it ends.
            drift_window_tiles: latest tiles that are held against the bundle's reference.
        """
        self.classifier = classifier
        manifest = classifier.bundle.manifest
        record = manifest.assessment
        self.drift = (
            DriftWatch(record.drift, manifest.label_ids, drift_window_tiles) if record else None
        )
        self._on_waiting = on_waiting
        self._pool = ThreadPoolExecutor(
            classifier.runtime.n_workers,
            thread_name_prefix=f"tile-v{classifier.identity.version}",
            # TensorFlow's own threads would not give way, and decoding would wait behind them.
            initializer=lower_thread_priority if classifier.runtime.computes_in_caller else None,
        )
        self._n_leases = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Keep the model open for the length of a `with` block."""
        self._n_leases += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._n_leases -= 1
            if self._n_leases == 0:
                self._is_idle.set()

    async def classify(self, tile_bytes: bytes, explain: str | None = None) -> TileResult:
        """`Classifier.classify` on a worker thread."""
        queued_at = time.perf_counter()
        return await self.run(lambda: self.classifier.classify(tile_bytes, queued_at, explain))

    async def run(self, work: Callable[[], Done]) -> Done:
        """Run `work` on a worker thread; cancelled before it starts, it never runs."""
        self._on_waiting(1)
        waiting = [work]

        def stop_waiting() -> None:
            # The thread and a cancellation may come here at once; only one of them pops.
            with suppress(IndexError):
                waiting.pop()
                self._on_waiting(-1)

        def begin() -> Done:
            stop_waiting()
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, begin)
        finally:
            stop_waiting()

    async def close(self) -> None:
        """Wait for the last lease to end, then give everything back."""
        await self._is_idle.wait()
        # A tile whose request was given up may still be running on its thread.
        await asyncio.to_thread(self._pool.shutdown)
        self.classifier.close()


class Rollout:
    """Holds the version that serves. Switching is one assignment on the event loop."""

    def __init__(self, settings: Settings, metrics: Metrics, opener: ClassifierOpener) -> None:
        """Nothing is loaded yet; see `activate`."""
        self._settings = settings
        self._metrics = metrics
        self._opener = opener
        self._active: ActiveModel | None = None
        self._previous_version: str | None = None
        self._switching = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._newest_seen = 0

    @property
    def active(self) -> ActiveModel:
        """The model that serves.

        Raises:
            NotReadyError: none does yet.
        """
        if self._active is None:
            raise NotReadyError("no model is loaded")
        return self._active

    @property
    def has_model(self) -> bool:
        """Whether a model serves."""
        return self._active is not None

    def versions(self) -> list[str]:
        """Versions in the models folder, oldest first, trustworthy or not."""
        return list_versions(self._settings.models_dir, self._settings.model_name)

    async def activate(self, version: str | None) -> Classifier:
        """Load a version beside the one that serves, check it, then switch.

        Args:
            version: a version folder; the newest for None.

        Raises:
            ModelNotFoundError: there is no such version.
            ActivationError: it cannot be trusted or run; the old one serves on.
        """
        async with self._switching:
            started = time.perf_counter()
            try:
                classifier = await asyncio.to_thread(self._opener, version)
            except BundleNotFoundError as error:
                raise ModelNotFoundError(self._settings.model_name, version) from error
            except (*LOAD_ERRORS, OSError) as error:
                self._metrics.model_swaps.labels("refused").inc()
                _logger.warning("model_refused", extra={"version": version, "reason": str(error)})
                raise ActivationError(version or "newest", str(error)) from error
            self._switch_to(classifier)
            self._announce(classifier, time.perf_counter() - started)
            return classifier

    async def roll_back(self) -> Classifier:
        """Activate the version that served before.

        Raises:
            ModelNotFoundError: no other version has served.
        """
        if self._previous_version is None:
            raise ModelNotFoundError(self._settings.model_name, "before this one")
        return await self.activate(self._previous_version)

    async def watch(self, period_s: float, on_activated: Callable[[], None]) -> None:
        """Look for newer versions every `period_s` seconds and activate them; until cancelled.

        Newer is what no earlier look has seen: a version that was refused, rolled back or passed
        over by name is not taken again. Half-copied folders should arrive under another name and
        be renamed. Without a model that serves, everything is tried at every look.
        """
        self._newest_seen = max(map(int, self.versions()), default=0)
        while True:
            await asyncio.sleep(period_s)
            floor = self._newest_seen if self.has_model else 0
            for version in reversed([v for v in self.versions() if int(v) > floor]):
                self._newest_seen = max(self._newest_seen, int(version))
                try:
                    await self.activate(version)
                except OsteoError:  # logged and counted by activate
                    continue
                on_activated()
                break

    async def close(self) -> None:
        """Close what serves, and wait for what is closing."""
        last, self._active = self._active, None
        if last is not None:
            await last.close()
        await asyncio.gather(*self._closing)

    def _switch_to(self, classifier: Classifier) -> None:
        new = ActiveModel(
            classifier, self._metrics.tiles_waiting.inc, self._settings.drift_window_tiles
        )
        old, self._active = self._active, new
        if old is not None:
            self._previous_version = old.classifier.identity.version
            closing = asyncio.get_running_loop().create_task(old.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _announce(self, classifier: Classifier, load_s: float) -> None:
        identity, runtime = classifier.identity, classifier.runtime
        self._metrics.model_swaps.labels("activated").inc()
        self._metrics.set_model(
            identity.name,
            identity.version,
            identity.bundle_sha256,
            runtime.name,
            runtime.precision,
            runtime.device,
        )
        drift = self.active.drift
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
