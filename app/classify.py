"""One tile, start to end: bytes -> pixels -> logits -> probabilities. No HTTP, no event loop."""

from __future__ import annotations

import hashlib
import threading
import time

import numpy as np
from numpy.typing import NDArray

from app.bundle import Bundle, check_golden_tiles
from app.core.calibration import probabilities_from_logits
from app.core.tile import TileLimits, decode_tile_and_header
from app.runtime.cores import usable_cores
from app.runtime.protocol import Runtime
from app.schemas import ModelIdentity, TileFacts, TileResult, Timing


class Classifier:
    """A bundle in a runtime; `classify` may be called from several threads at once."""

    def __init__(self, bundle: Bundle, runtime: Runtime, limits: TileLimits) -> None:
        """Put the parts together; nothing is run yet, see `check`."""
        self.bundle = bundle
        self.runtime = runtime
        self.limits = limits
        # Decoding is all CPU: more at once than there are cores only evicts each other's caches.
        self._decoding = threading.BoundedSemaphore(usable_cores())
        manifest = bundle.manifest
        self._label_ids = manifest.label_ids
        self._tumor_indices = [i for i, label in enumerate(manifest.labels) if label.is_tumor]
        self._identity = ModelIdentity(
            name=manifest.model_name,
            version=manifest.model_version,
            bundle_sha256=bundle.sha256,
        )

    @property
    def identity(self) -> ModelIdentity:
        """Which model answers."""
        return self._identity

    def check(self) -> float:
        """Warm the runtime up on the golden tiles and hold its answers against the release.

        Returns:
            The largest difference of a logit.

        Raises:
            GoldenTileError: the runtime does not reproduce the released model.
        """
        return max(
            check_golden_tiles(
                self.bundle,
                lambda tiles: self.runtime.infer(tiles).logits,
                self.runtime.precision,
            )
            for _ in range(self.runtime.n_warm_ups)
        )

    def classify(self, tile_bytes: bytes, queued_at: float | None = None) -> TileResult:
        """Classify one encoded tile.

        Args:
            tile_bytes: a JPEG, PNG, TIFF or WebP file.
            queued_at: `time.perf_counter()` when the tile began to wait for this thread.

        Raises:
            TileError: the bytes are no tile.
            InferenceError: the model answered NaN or infinity.
        """
        side_px = self.bundle.manifest.input.side_px
        with self._decoding:
            started = time.perf_counter()
            tile, header = decode_tile_and_header(tile_bytes, self.limits, side_px)
        decoded = time.perf_counter()
        probabilities = self._probabilities(tile)
        inferred = time.perf_counter()
        return TileResult(
            prediction=self._label_ids[int(probabilities.argmax())],
            probabilities=dict(zip(self._label_ids, probabilities.tolist(), strict=True)),
            tumor_probability=min(1.0, float(probabilities[self._tumor_indices].sum())),
            model=self._identity,
            tile=TileFacts(
                sha256=hashlib.sha256(tile_bytes).hexdigest(),
                format=header.format,
                width_px=header.width_px,
                height_px=header.height_px,
            ),
            timing=Timing(
                decode_s=round(decoded - started, 6),
                queue_s=round(started - queued_at, 6) if queued_at is not None else 0.0,
                inference_s=round(inferred - decoded, 6),
            ),
        )

    def close(self) -> None:
        """Give the runtime's memory back."""
        self.runtime.close()

    def _probabilities(self, tile: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 `[side, side, 3]` -> float32 `[C]`."""
        logits = self.runtime.infer(tile[np.newaxis]).logits
        probabilities: NDArray[np.float32] = probabilities_from_logits(
            logits, self.bundle.manifest.temperature
        )[0]
        return probabilities
