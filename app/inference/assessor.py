"""How far an answer can be trusted: its prediction set, and whether a person should look at it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.api.schemas import Checks, PredictionSet, Review
from app.bundle import Bundle
from app.core.appearance import measure_appearance
from app.core.assessment_record import InputGate
from app.core.conformal import min_tiles, prediction_set, threshold_of
from app.core.errors import ManifestError
from app.core.input_gate import ReviewReason, gate_reasons
from app.core.reference_tiles import REFERENCE_NAME, ReferenceTiles, read_reference
from app.core.tile import TileHeader
from app.settings import Settings

NO_RECORD: Final = "this bundle was released without an assessment"
_OPEN_GATE: Final = InputGate(
    min_tissue_share=0.0,
    min_contrast=0.0,
    min_sharpness=0.0,
    min_stain_share=0.0,
    absorption=((0.0, 1.0), (0.0, 1.0), (0.0, 1.0)),
    max_distance=2.0,
)
"""Lets everything through, but for the limits that the settings name."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is said of one answer."""

    prediction_set: PredictionSet
    review: Review
    checks: Checks


class Assessor:
    """Judges answers by what the bundle knows of its limits and what the settings ask for.

    A bundle without an assessment record is served all the same: its sets are unavailable, and
    only what needs no fitted limit, or one that the settings name, sends a tile to review.
    """

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        """Read the reference tiles and find the threshold of the sets.

        Raises:
            ManifestError: the bundle's reference tiles cannot be read, or are not its own.
        """
        self._settings = settings
        self._label_ids = bundle.manifest.label_ids
        self._reference: ReferenceTiles | None = None
        self._gate = _overruled(_OPEN_GATE, settings)
        self._threshold: float | None = None
        self._unavailable = NO_RECORD
        record = bundle.manifest.assessment
        if record is not None:
            if record.gate.max_distance is not None:
                self._reference = read_reference(bundle.path / REFERENCE_NAME)
            self._gate = _overruled(record.gate, settings)
            self._threshold = threshold_of(record.conformal.scores, settings.coverage)
            self._unavailable = (
                f"coverage {settings.coverage:g} needs {min_tiles(settings.coverage)} calibration "
                f"tiles, and there are {len(record.conformal.scores)}"
            )
        if self._reference is not None:
            _require_own(self._reference, bundle)

    def assess(
        self,
        tile: NDArray[np.uint8],
        header: TileHeader,
        embedding: NDArray[np.float32],
        probabilities: NDArray[np.float32],
    ) -> Assessment:
        """Judge one answer.

        Args:
            tile: uint8 `[side, side, 3]`, as the model saw it.
            header: what the file said of itself.
            embedding: float32 `[E]`.
            probabilities: float32 `[C]`, calibrated.
        """
        appearance = measure_appearance(tile)
        distance = None if self._reference is None else self._reference.distance(embedding)
        labels = self._set_of(probabilities)
        reasons = [
            *self._doubts(probabilities, labels),
            *self._shape_complaints(header),
            *gate_reasons(self._gate, appearance, distance),
        ]
        return Assessment(
            PredictionSet(
                status="unavailable" if labels is None else "available",
                coverage=self._settings.coverage,
                labels=labels,
                reason=self._unavailable if labels is None else None,
            ),
            Review(required=bool(reasons), reasons=reasons),
            Checks(
                tissue_share=round(appearance.tissue_share, 4),
                contrast=round(appearance.contrast, 3),
                sharpness=round(appearance.sharpness, 3),
                stain_share=round(appearance.stain_share, 4),
                distance=_number(distance),
                max_distance=None if self._reference is None else self._gate.max_distance,
            ),
        )

    def _set_of(self, probabilities: NDArray[np.float32]) -> list[str] | None:
        if self._threshold is None:
            return None
        return [self._label_ids[i] for i in prediction_set(probabilities, self._threshold)]

    def _doubts(
        self, probabilities: NDArray[np.float32], labels: list[str] | None
    ) -> Iterator[ReviewReason]:
        if float(probabilities.max()) < self._settings.review_min_probability:
            yield ReviewReason.LOW_PROBABILITY
        if self._settings.review_ambiguous and labels is not None and len(labels) > 1:
            yield ReviewReason.AMBIGUOUS

    def _shape_complaints(self, header: TileHeader) -> Iterator[ReviewReason]:
        shorter, longer = sorted((header.width_px, header.height_px))
        if longer > self._settings.review_max_aspect * shorter:
            yield ReviewReason.NOT_SQUARE
        if shorter < self._settings.review_min_side_px:
            yield ReviewReason.TOO_SMALL


def _number(distance: float | None) -> float | None:
    """NaN is no JSON, and one of it would spoil the metrics' sum for ever."""
    return round(distance, 4) if distance is not None and math.isfinite(distance) else None


def _require_own(reference: ReferenceTiles, bundle: Bundle) -> None:
    """Refuse reference tiles that nobody vouches for, or of another network."""
    path, expected = str(bundle.path / REFERENCE_NAME), bundle.manifest.embedding_size
    if REFERENCE_NAME not in bundle.manifest.files:
        raise ManifestError(path, "the bundle's manifest does not list it")
    if reference.embedding_size != expected:
        found = reference.embedding_size
        raise ManifestError(path, f"its embeddings have {found} numbers, the model's {expected}")


def _overruled(gate: InputGate, settings: Settings) -> InputGate:
    """The bundle's limits, with those that the settings name put in their place."""
    named = {
        "min_tissue_share": settings.review_min_tissue_share,
        "min_sharpness": settings.review_min_sharpness,
        "min_stain_share": settings.review_min_stain_share,
        "max_distance": settings.review_max_distance,
    }
    return gate.model_copy(update={name: v for name, v in named.items() if v is not None})
