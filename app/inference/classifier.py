"""Classify one tile: bytes -> pixels -> logits -> probabilities -> assessment."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.bundle import Bundle, largest_difference, released_tiles
from app.core.appearance import glass_by_cell
from app.core.calibration import probabilities_from_logits
from app.core.errors import ExplanationUnavailableError, UnknownLabelError
from app.core.tile import TileHeader
from app.inference.assessor import Assessment, Assessor
from app.inference.decoder import Decoder
from app.inference.explanation import PREDICTED, explain_map, obstacle_of
from app.inference.heatmap import Picture, draw_heat, draw_overlay
from app.inference.picture_margin import caption_of
from app.inference.results import Explanation, ModelIdentity, TileFacts, TileResult, Timing
from app.runtime.protocol import ModelOutputs, Runtime
from app.settings import Settings
from app.telemetry.tracing import leave_queue, stage


@dataclass(frozen=True, slots=True)
class PixelsResult:
    """The answer for a decoded tile.

    Attributes:
        probabilities: float32 `[C]`, in [0, 1], temperature applied.
        assessment: how far the answer can be trusted.
        cam: float32 `[h, w, C]`, evidence maps before ReLU, in units of the logit.
    """

    probabilities: NDArray[np.float32]
    assessment: Assessment
    cam: NDArray[np.float32]


class Classifier:
    """A bundle loaded into a runtime; `classify` is thread-safe."""

    def __init__(self, bundle: Bundle, runtime: Runtime, settings: Settings) -> None:
        """Assemble the parts without running the model; see `check`.

        Raises:
            ManifestError: the bundle's reference tiles are unreadable or belong to another model.
        """
        self.bundle = bundle
        self.runtime = runtime
        self.limits = settings.tile_limits
        self.answer_settings = settings.answer_settings
        self._decoder = Decoder(settings)
        self._assessor = Assessor(bundle, settings)
        self._in_flight = _InFlightCounter()
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
        """Warm the runtime up on the golden tiles and compare its logits with the release.

        Returns:
            The largest absolute difference of a logit.

        Raises:
            GoldenTileError: the runtime does not reproduce the released model.
        """
        precision = self.runtime.precision
        golden_tiles = released_tiles(self.bundle, precision)  # decoded once for all runs

        def run(alone: bool) -> float:
            return largest_difference(
                golden_tiles, lambda tiles: self.runtime.infer(tiles, alone=alone).logits, precision
            )

        concurrent = [False] * self.runtime.n_warm_ups
        return max(run(alone) for alone in (*concurrent, True))

    def classify(
        self, tile_bytes: bytes, queued_at: float | None = None, explain: str | None = None
    ) -> TileResult:
        """Classify one encoded tile and assess the answer.

        Args:
            tile_bytes: a JPEG, PNG, TIFF or WebP file.
            queued_at: `time.perf_counter()` when the tile was queued for this thread.
            explain: the label to explain, or `PREDICTED`; None for no explanation.

        Raises:
            TileError: the tile cannot be decoded or exceeds a limit.
            MemoryError: the service has too little memory.
            UnknownLabelError: the model has no label `explain`.
            InferenceError: the model returned NaN or infinity.
        """
        self.require_label(explain)
        side_px = self.bundle.manifest.input.side_px
        with self._in_flight:
            with self._decoder.slot():
                leave_queue()
                started = time.perf_counter()
                with stage("decode"):
                    tile, header = self._decoder.decode(tile_bytes, side_px)
            decoded = time.perf_counter()
            with stage("infer") as span:
                outputs = self.runtime.infer(tile[np.newaxis], alone=self._in_flight.n_tiles == 1)
                span.note("osteo.n_batch_tiles", outputs.n_batch_tiles)
        probabilities = self._probabilities(outputs)
        inferred = time.perf_counter()
        with stage("assess"):
            assessment = self._assessor.assess(tile, header, outputs.embedding[0], probabilities)
        prediction = self._label_ids[int(probabilities.argmax())]
        return TileResult(
            prediction=prediction,
            probabilities=dict(zip(self._label_ids, probabilities.tolist(), strict=True)),
            tumor_probability=self._tumor_probability(probabilities),
            prediction_set=assessment.prediction_set,
            review=assessment.review,
            checks=assessment.checks,
            explanation=self._explanation(prediction, explain, tile, outputs, assessment),
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

    def classify_pixels(self, tile: NDArray[np.uint8], header: TileHeader) -> PixelsResult:
        """Classify a tile that is decoded already, and assess the answer.

        Args:
            tile: uint8 RGB `[side_px, side_px, 3]`, as the manifest's input states.
            header: format and size of its source, and whether it is damaged.

        Raises:
            InferenceError: the model returned NaN or infinity.
        """
        outputs = self.runtime.infer(tile[np.newaxis])
        probabilities = self._probabilities(outputs)
        assessment = self._assessor.assess(tile, header, outputs.embedding[0], probabilities)
        return PixelsResult(probabilities, assessment, outputs.cam[0])

    def classify_and_draw(
        self,
        tile_bytes: bytes,
        queued_at: float,
        label: str,
        picture: Picture,
        size_px: int,
        opacity: float,
    ) -> tuple[TileResult, bytes | ExplanationUnavailableError]:
        """Classify one tile and draw its explanation; see `classify` and `draw`.

        Returns:
            The result, and the PNG; the error if there is nothing to draw.
        """
        result = self.classify(tile_bytes, queued_at, label)
        try:
            with stage("encode"):
                drawn = self.draw(tile_bytes, result, picture, size_px, opacity)
        except ExplanationUnavailableError as error:
            return result, error.detached()
        return result, drawn

    def draw(
        self,
        tile_bytes: bytes,
        result: TileResult,
        picture: Picture,
        size_px: int,
        opacity: float,
    ) -> bytes:
        """Draw the explanation of a result over its tile, as a PNG; the model does not run again.

        Args:
            tile_bytes: the encoded tile that was classified.
            result: its result, with an explanation.
            picture: `overlay` or `side-by-side` with a colour bar and a caption, or `heat` alone on
                a transparent background.
            size_px: side of the tile in the picture.
            opacity: opacity of the heat map at its maximum, in [0, 1].

        Raises:
            ExplanationUnavailableError: there is nothing to draw.
        """
        explanation = result.explanation
        if explanation is None:
            raise ExplanationUnavailableError(result.prediction, "the result holds none")
        if explanation.grid is None:
            raise ExplanationUnavailableError(explanation.label, explanation.reason or "")
        is_layer = picture == "heat"
        with self._decoder.slot():
            # A layer shows nothing of the tile but where the glass is.
            side_px = self.bundle.manifest.input.side_px if is_layer else size_px
            tile, _ = self._decoder.decode(tile_bytes, side_px)
        if is_layer:
            return draw_heat(tile, explanation.grid, size_px, opacity)
        caption = caption_of(result, explanation.label, self.bundle.manifest.labels)
        beside = picture == "side-by-side"
        return draw_overlay(tile, explanation.grid, opacity, caption, beside=beside)

    def view(self, tile_bytes: bytes, size_px: int) -> NDArray[np.uint8]:
        """Decode the part of a tile that the model sees, its centre square, to show it.

        Args:
            tile_bytes: a JPEG, PNG, TIFF or WebP file.
            size_px: side of the result.

        Returns:
            uint8 RGB `[size_px, size_px, 3]`.

        Raises:
            TileError: the tile cannot be decoded or exceeds a limit.
        """
        with self._decoder.slot():
            tile, _ = self._decoder.decode(tile_bytes, size_px)
        return tile

    def require_label(self, label: str | None) -> None:
        """Check that the model has a label.

        Raises:
            UnknownLabelError: it is neither None, `PREDICTED` nor a label id.
        """
        if label not in (None, PREDICTED, *self._label_ids):
            raise UnknownLabelError(str(label), self._label_ids)

    def close(self) -> None:
        """Free the runtime's memory and end the decoder's processes."""
        self._decoder.close()
        self.runtime.close()

    def _probabilities(self, outputs: ModelOutputs) -> NDArray[np.float32]:
        """The probabilities of one tile, float32 `[C]`."""
        probabilities: NDArray[np.float32] = probabilities_from_logits(
            outputs.logits, self.bundle.manifest.temperature
        )[0]
        return probabilities

    def _tumor_probability(self, probabilities: NDArray[np.float32]) -> float | None:
        """Sum over the tumour labels; None if they are none or all of the labels."""
        if len(self._tumor_indices) in (0, len(self._label_ids)):
            return None
        return min(1.0, float(probabilities[self._tumor_indices].sum()))

    def _explanation(
        self,
        prediction: str,
        explain: str | None,
        tile: NDArray[np.uint8],
        outputs: ModelOutputs,
        assessment: Assessment,
    ) -> Explanation | None:
        if explain is None:
            return None
        label = prediction if explain == PREDICTED else explain
        cam = outputs.cam[0, :, :, self._label_ids.index(label)]
        glass = glass_by_cell(tile, cam.shape)
        return explain_map(label, cam, glass, obstacle_of(assessment.review.reasons))


class _InFlightCounter:
    """Counts the tiles being decoded or inferred; a context manager around each."""

    def __init__(self) -> None:
        self.n_tiles = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.n_tiles += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.n_tiles -= 1
