"""How many images the input gate flags for review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.bundle import Bundle
from app.core.appearance import measure_appearance
from app.core.errors import TileError
from app.core.input_gate import gate_reasons
from app.core.reference_tiles import REFERENCE_NAME, read_reference
from app.core.review import ReviewReason
from app.core.tile import TileLimits, decode_tile
from training.console.plural import plural
from training.console.progress import tracked
from training.errors import DataError, RunError
from training.evaluation.intervals import binomial_interval
from training.reliability.predictor import Predictor
from training.storage.frozen_model import FrozenModel

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})
"""Suffixes of the images that a folder is searched for."""
_LIMITS: Final = TileLimits(max_bytes=2**28, max_pixels=2**27, min_side_px=16)


class FlagRate(FrozenModel):
    """Share of images of one kind that the input gate flags, in [0, 1], with its 95 % interval."""

    kind: str
    n_pictures: int
    flagged: float
    low: float
    high: float
    by_reason: dict[str, float]


def flag_rate(kind: str, verdicts: Sequence[frozenset[ReviewReason]]) -> FlagRate:
    """Compute the flag rate of at least one image; the interval is binomial."""
    n_images = len(verdicts)
    n_flagged = sum(bool(reasons) for reasons in verdicts)
    low, high = binomial_interval(n_flagged, n_images)
    counts = Counter(reason for reasons in verdicts for reason in reasons)
    return FlagRate(
        kind=kind,
        n_pictures=n_images,
        flagged=n_flagged / n_images,
        low=low,
        high=high,
        by_reason={reason.value: n / n_images for reason, n in sorted(counts.items())},
    )


def flag_rate_of_folder(bundle: Bundle, folder: Path) -> tuple[FlagRate, int]:
    """Run the input gate of a bundle on all images of a folder.

    Args:
        bundle: must have an assessment record.
        folder: searched recursively for JPEG, PNG, TIFF and WebP files.

    Returns:
        The flag rate, and the number of files that could not be decoded.

    Raises:
        RunError: the bundle has no assessment record.
        DataError: the path is not a folder, or none of its images can be decoded.
    """
    record = bundle.manifest.assessment
    if record is None:
        raise RunError(f"{bundle.path} was released without an assessment; use a newer version.")
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder.")
    has_distance = record.gate.max_distance is not None
    reference = read_reference(bundle.path / REFERENCE_NAME) if has_distance else None
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    verdicts = []
    with Predictor(bundle.litert_file, bundle.manifest.temperature) as predictor:
        for tile in _decodable_tiles(files, bundle.manifest.input.side_px):
            embedding = predictor.outputs(tile[np.newaxis]).embedding[0]
            distance = None if reference is None else reference.distance(embedding)
            verdicts.append(
                frozenset(gate_reasons(record.gate, measure_appearance(tile), distance))
            )
    n_undecodable = len(files) - len(verdicts)
    if not verdicts:
        found = f"; {plural(n_undecodable, 'file')} could not be decoded" if n_undecodable else ""
        raise DataError(f"{folder} has no readable images (JPEG, PNG, TIFF, WebP){found}.")
    return flag_rate(folder.resolve().name, verdicts), n_undecodable


def _decodable_tiles(files: list[Path], side_px: int) -> Iterator[NDArray[np.uint8]]:
    for file in tracked("Checking images")(files):
        try:
            if file.stat().st_size > _LIMITS.max_bytes:  # reading a whole slide would fill memory
                continue
            yield decode_tile(file.read_bytes(), _LIMITS, side_px)
        except (TileError, OSError):
            continue
