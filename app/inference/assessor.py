"""Assess an answer: its prediction set, and whether a person should review the tile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.bundle import Bundle
from app.core.appearance import measure_appearance
from app.core.assessment_record import InputGate
from app.core.bundle_errors import ManifestError
from app.core.conformal import SetScore, min_tiles, prediction_set, threshold_of
from app.core.input_gate import gate_reasons
from app.core.reference_tiles import REFERENCE_NAME, ReferenceTiles, read_reference
from app.core.review import ReviewReason, review_priority
from app.core.tile import TileHeader
from app.inference.results import Checks, PredictionSet, Review
from app.settings import Settings

NO_RECORD: Final = "the bundle has no assessment record"
_OPEN_GATE: Final = InputGate(
    min_tissue_share=0.0,
    min_contrast=0.0,
    min_sharpness=0.0,
    min_stain_share=0.0,
    absorption=((0.0, 1.0), (0.0, 1.0), (0.0, 1.0)),
    max_distance=2.0,
)
"""Rejects nothing except by the limits in the settings."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The parts of an answer that say how far it can be trusted."""

    prediction_set: PredictionSet
    review: Review
    checks: Checks


class Assessor:
    """Assesses answers by the bundle's assessment record and the settings.

    A bundle without a record can still serve: its prediction sets are unavailable, and tiles go to
    review only for reasons that need no fitted limit or whose limit is in the settings.
    """

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        """Read the reference tiles and compute the threshold of the prediction sets.

        Raises:
            ManifestError: the bundle's reference tiles are unreadable or belong to another model.
        """
        self._settings = settings
        self._label_ids = bundle.manifest.label_ids
        self._reference: ReferenceTiles | None = None
        self._gate = _with_settings(_OPEN_GATE, settings)
        self._threshold: float | None = None
        self._set_score: SetScore = "adaptive"
        self._unavailable = NO_RECORD
        record = bundle.manifest.assessment
        if record is not None:
            if record.gate.max_distance is not None:
                content = bundle.read_file(REFERENCE_NAME)
                self._reference = read_reference(bundle.path / REFERENCE_NAME, content)
            self._gate = _with_settings(record.gate, settings)
            self._threshold = threshold_of(record.conformal.scores, settings.coverage)
            self._set_score = record.conformal.score
            self._unavailable = (
                f"coverage {settings.coverage:g} needs {min_tiles(settings.coverage)} calibration "
                f"tiles, but the bundle has {len(record.conformal.scores)}"
            )
        if self._reference is not None:
            _require_from_bundle(self._reference, bundle)

    def assess(
        self,
        tile: NDArray[np.uint8],
        header: TileHeader,
        embedding: NDArray[np.float32],
        probabilities: NDArray[np.float32],
    ) -> Assessment:
        """Assess one answer.

        Args:
            tile: uint8 RGB `[side, side, 3]`, the model's input.
            header: format and size of the uploaded file, and whether it is damaged.
            embedding: float32 `[E]`.
            probabilities: float32 `[C]`, in [0, 1], temperature applied.
        """
        appearance = measure_appearance(tile)
        distance = None if self._reference is None else self._reference.distance(embedding)
        labels = self._prediction_set(probabilities)
        reasons = [
            *self._uncertainty_reasons(probabilities, labels),
            *self._file_reasons(header),
            *gate_reasons(self._gate, appearance, distance),
        ]
        return Assessment(
            PredictionSet(
                status="unavailable" if labels is None else "available",
                coverage=self._settings.coverage,
                labels=labels,
                reason=self._unavailable if labels is None else None,
            ),
            Review(
                required=bool(reasons),
                reasons=reasons,
                priority=round(review_priority(probabilities, reasons), 4),
            ),
            Checks(
                tissue_share=round(appearance.tissue_share, 4),
                contrast=round(appearance.contrast, 3),
                sharpness=round(appearance.sharpness, 3),
                stain_share=round(appearance.stain_share, 4),
                distance=_rounded(distance),
                max_distance=None if self._reference is None else self._gate.max_distance,
            ),
        )

    def _prediction_set(self, probabilities: NDArray[np.float32]) -> list[str] | None:
        if self._threshold is None:
            return None
        found = prediction_set(probabilities, self._threshold, self._set_score)
        return [self._label_ids[i] for i in found]

    def _uncertainty_reasons(
        self, probabilities: NDArray[np.float32], labels: list[str] | None
    ) -> Iterator[ReviewReason]:
        if float(probabilities.max()) < self._settings.review_min_probability:
            yield ReviewReason.LOW_PROBABILITY
        if self._settings.review_ambiguous and labels is not None and len(labels) > 1:
            yield ReviewReason.AMBIGUOUS

    def _file_reasons(self, header: TileHeader) -> Iterator[ReviewReason]:
        shorter, longer = sorted((header.width_px, header.height_px))
        if longer > self._settings.review_max_aspect * shorter:
            yield ReviewReason.NOT_SQUARE
        if shorter < self._settings.review_min_side_px:
            yield ReviewReason.TOO_SMALL
        if header.is_damaged:
            yield ReviewReason.DAMAGED


def _rounded(distance: float | None) -> float | None:
    """None for NaN, which is not valid JSON and would corrupt the histogram sum."""
    return round(distance, 4) if distance is not None and math.isfinite(distance) else None


def _require_from_bundle(reference: ReferenceTiles, bundle: Bundle) -> None:
    """Refuse reference tiles of another network."""
    path = "/".join((bundle.path / REFERENCE_NAME).parts[-3:])
    expected = bundle.manifest.embedding_size
    if reference.embedding_size != expected:
        found = reference.embedding_size
        raise ManifestError(path, f"its embeddings have size {found}, the model's {expected}")


def _with_settings(gate: InputGate, settings: Settings) -> InputGate:
    """The limits of the bundle; those in the settings take precedence."""
    overrides = {
        "min_tissue_share": settings.review_min_tissue_share,
        "min_sharpness": settings.review_min_sharpness,
        "min_stain_share": settings.review_min_stain_share,
        "max_distance": settings.review_max_distance,
    }
    return gate.model_copy(update={name: v for name, v in overrides.items() if v is not None})
