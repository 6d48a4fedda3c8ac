"""An assessment record for fake bundles, with limits that real and drawn H&E tiles satisfy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.assessment_record import (
    AssessmentRecord,
    Conformal,
    DriftReference,
    Histogram,
    InputGate,
)

EMBEDDING_SIZE: Final = 1280
N_TILES: Final = 41
SCORES: Final = tuple(round(i / N_TILES, 6) for i in range(1, N_TILES + 1))
GATE: Final = InputGate(
    min_tissue_share=0.1,
    min_contrast=3.0,
    min_sharpness=5.0,
    min_stain_share=0.6,
    absorption=((0.05, 0.45), (0.4, 0.75), (0.1, 0.35)),
    max_distance=0.5,
)


def a_record(
    scores: Sequence[float] = SCORES, gate: InputGate = GATE, **drift: Any
) -> AssessmentRecord:
    """Build a record; `drift` replaces parts of its drift reference."""
    parts: dict[str, Any] = {
        "predictions": {"non_tumor": 20, "non_viable_tumor": 11, "viable_tumor": 10},
        "probability": Histogram(edges=(0.5, 0.7, 0.9), counts=(5, 8, 12, 16)),
        "distance": Histogram(edges=(0.1, 0.2), counts=(20, 15, 6)),
    }
    return AssessmentRecord(
        n_tiles=N_TILES,
        conformal=Conformal(split="slide", scores=tuple(scores)),
        gate=gate,
        drift=DriftReference(**(parts | drift)),
    )


def embedding_at(distance: float) -> NDArray[np.float32]:
    """An embedding, float32 `[EMBEDDING_SIZE]`, at a cosine distance from the reference; 0 to 1."""
    embedding = np.zeros(EMBEDDING_SIZE, np.float32)
    embedding[0] = 1.0 - distance
    embedding[1] = np.sqrt(1.0 - embedding[0] ** 2)
    return embedding


def reference_embeddings() -> NDArray[np.float32]:
    """Embeddings of identical training tiles, float32 `[N_TILES, EMBEDDING_SIZE]`."""
    return np.tile(embedding_at(0.0), (N_TILES, 1))
