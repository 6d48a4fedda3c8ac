"""Answers of a model that was never run, for tests of what is printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from app.cli.files import FileOutcome, Outcome
from app.core.review import ReviewReason, review_priority
from app.inference.results import (
    Checks,
    ModelIdentity,
    PredictionSet,
    Review,
    TileFacts,
    TileResult,
    Timing,
)
from tests.bundles import LABELS

MODEL = ModelIdentity(
    name="osteo-mobilenetv2", version="4", bundle_sha256="596a74b911c0" + "0" * 52
)


def answer(*probabilities: float, reasons: tuple[ReviewReason, ...] = ()) -> TileResult:
    """An answer with these probabilities, in the order of `LABELS`."""
    by_label = {label.id: value for label, value in zip(LABELS, probabilities, strict=True)}
    return TileResult(
        prediction=max(by_label, key=by_label.__getitem__),
        probabilities=by_label,
        tumor_probability=sum(probabilities[1:]),
        prediction_set=PredictionSet(status="unavailable", coverage=0.9),
        review=Review(
            required=bool(reasons),
            reasons=list(reasons),
            priority=review_priority(np.array(probabilities, np.float32), reasons),
        ),
        checks=Checks(tissue_share=1.0, contrast=50.0, sharpness=90.0, stain_share=1.0),
        model=MODEL,
        tile=TileFacts(sha256="0" * 64, format="PNG", width_px=256, height_px=256),
        timing=Timing(decode_s=0.0, queue_s=0.0, inference_s=0.0),
    )


def outcome(
    name: str, *probabilities: float, reasons: tuple[ReviewReason, ...] = ()
) -> FileOutcome:
    return Outcome(Path(name), answer(*probabilities, reasons=reasons))


def failure(name: str, error: str) -> FileOutcome:
    return Outcome(Path(name), None, error)
