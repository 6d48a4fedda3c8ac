"""One tile, start to end: bytes -> pixels -> logits -> probabilities -> how far to trust them.

No HTTP, no event loop.
"""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.api.schemas import (
    Explanation,
    ModelIdentity,
    TileFacts,
    TileResult,
    Timing,
)
from app.bundle import Bundle, check_golden_tiles
from app.core.calibration import probabilities_from_logits
from app.core.errors import ExplanationUnavailableError, UnknownLabelError
from app.core.input_gate import ReviewReason
from app.core.tile import decode_tile, decode_tile_and_header
from app.inference.assessor import Assessment, Assessor
from app.inference.explanation import PREDICTED, Picture, draw_explanation, explain_map
from app.runtime.cores import usable_cores
from app.runtime.protocol import ModelOutputs, Runtime
from app.settings import Settings

_OUT_OF_DISTRIBUTION: Final = (
    "the tile does not look like those the model was trained on, so its map means nothing"
)
_ESTRANGED: Final = frozenset(
    {ReviewReason.BLANK, ReviewReason.NOT_TISSUE, ReviewReason.OUT_OF_DISTRIBUTION}
)
"""Reasons that say the model has never seen the like of a tile."""


class Classifier:
    """A bundle in a runtime; `classify` may be called from several threads at once."""

    def __init__(self, bundle: Bundle, runtime: Runtime, settings: Settings) -> None:
        """Put the parts together; nothing is run yet, see `check`.

        Raises:
            ManifestError: the bundle's reference tiles cannot be read.
        """
        self.bundle = bundle
        self.runtime = runtime
        self.limits = settings.tile_limits
        self._assessor = Assessor(bundle, settings)
        # Decoding is all CPU: more at once than there are cores only evicts each other's caches.
        self._decoding = threading.BoundedSemaphore(usable_cores())
        self._at_work = _AtWork()
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
        in_company = [False] * self.runtime.n_warm_ups
        return max(self._golden_difference(alone) for alone in (*in_company, True))

    def classify(
        self, tile_bytes: bytes, queued_at: float | None = None, explain: str | None = None
    ) -> TileResult:
        """Classify one encoded tile and say how far the answer can be trusted.

        Args:
            tile_bytes: a JPEG, PNG, TIFF or WebP file.
            queued_at: `time.perf_counter()` when the tile began to wait for this thread.
            explain: the label whose evidence is asked for, or `PREDICTED`.

        Raises:
            TileError: the bytes are no tile.
            UnknownLabelError: the model has no label `explain`.
            InferenceError: the model answered NaN or infinity.
        """
        self.require_label(explain)
        side_px = self.bundle.manifest.input.side_px
        with self._at_work:
            with self._decoding:
                started = time.perf_counter()
                tile, header = decode_tile_and_header(tile_bytes, self.limits, side_px)
            decoded = time.perf_counter()
            outputs = self.runtime.infer(tile[np.newaxis], alone=self._at_work.n_tiles == 1)
        probabilities = self._probabilities(outputs)
        inferred = time.perf_counter()
        assessment = self._assessor.assess(tile, header, outputs.embedding[0], probabilities)
        prediction = self._label_ids[int(probabilities.argmax())]
        return TileResult(
            prediction=prediction,
            probabilities=dict(zip(self._label_ids, probabilities.tolist(), strict=True)),
            tumor_probability=min(1.0, float(probabilities[self._tumor_indices].sum())),
            prediction_set=assessment.prediction_set,
            review=assessment.review,
            checks=assessment.checks,
            explanation=self._explanation(prediction, explain, outputs, assessment),
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

    def draw(
        self,
        tile_bytes: bytes,
        explanation: Explanation,
        picture: Picture,
        size_px: int,
        opacity: float,
    ) -> bytes:
        """Draw an available explanation over its tile, as a PNG; the model does not run again.

        Args:
            tile_bytes: what `classify` was given.
            explanation: what it answered.
            picture: `overlay` with a colour bar, or `heat` alone on a transparent ground.
            size_px: side of the tile in the picture.
            opacity: of the heat where it is highest, in [0, 1].

        Raises:
            ExplanationUnavailableError: there is nothing to draw.
        """
        if explanation.grid is None:
            raise ExplanationUnavailableError(explanation.label, explanation.reason or "")
        with self._decoding:
            tile = decode_tile(tile_bytes, self.limits, size_px)
        return draw_explanation(tile, explanation.grid, picture, opacity, explanation.label)

    def require_label(self, label: str | None) -> None:
        """Refuse a label that this model does not have.

        Raises:
            UnknownLabelError: it is neither None, `PREDICTED` nor a label id.
        """
        if label not in (None, PREDICTED, *self._label_ids):
            raise UnknownLabelError(str(label), self._label_ids)

    def close(self) -> None:
        """Give the runtime's memory back."""
        self.runtime.close()

    def _golden_difference(self, alone: bool) -> float:
        def infer(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
            return self.runtime.infer(tiles, alone=alone).logits

        return check_golden_tiles(self.bundle, infer, self.runtime.precision)

    def _probabilities(self, outputs: ModelOutputs) -> NDArray[np.float32]:
        """Of one tile, float32 `[C]`."""
        probabilities: NDArray[np.float32] = probabilities_from_logits(
            outputs.logits, self.bundle.manifest.temperature
        )[0]
        return probabilities

    def _explanation(
        self, prediction: str, explain: str | None, outputs: ModelOutputs, assessment: Assessment
    ) -> Explanation | None:
        if explain is None:
            return None
        label = prediction if explain == PREDICTED else explain
        is_strange = not _ESTRANGED.isdisjoint(assessment.review.reasons)
        cam = outputs.cam[0, :, :, self._label_ids.index(label)]
        return explain_map(label, cam, _OUT_OF_DISTRIBUTION if is_strange else None)


class _AtWork:
    """How many tiles are being decoded or inferred; a context manager around each."""

    def __init__(self) -> None:
        self.n_tiles = 0
        self._counting = threading.Lock()

    def __enter__(self) -> None:
        with self._counting:
            self.n_tiles += 1

    def __exit__(self, *_: object) -> None:
        with self._counting:
            self.n_tiles -= 1
