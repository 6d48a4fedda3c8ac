"""Anybody's pictures at a bundle's input gate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.bundle import Bundle
from app.core.appearance import measure_appearance
from app.core.errors import TileError
from app.core.input_gate import gate_reasons
from app.core.reference_tiles import REFERENCE_NAME, read_reference
from app.core.tile import TileLimits, decode_tile
from training.console.progress import tracked
from training.errors import DataError, RunError
from training.reliability.flag_rates import Flagged, count_flagged
from training.reliability.predictor import Predictor

_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})
_LIMITS: Final = TileLimits(max_bytes=2**28, max_pixels=2**27, min_side_px=16)


def judge_folder(bundle: Bundle, folder: Path) -> tuple[Flagged, int]:
    """Which pictures below a folder the gate sends to review.

    Args:
        bundle: with an assessment record.
        folder: searched for JPEG, PNG, TIFF and WebP files.

    Returns:
        The counts, and how many files were no pictures.

    Raises:
        RunError: the bundle has no record.
        DataError: it is no folder, or holds no picture that can be read.
    """
    record = bundle.manifest.assessment
    if record is None:
        raise RunError(f"{bundle.path} was released without an assessment; take a newer version.")
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder.")
    has_distance = record.gate.max_distance is not None
    reference = read_reference(bundle.path / REFERENCE_NAME) if has_distance else None
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in _SUFFIXES and f.is_file())
    verdicts = []
    with Predictor(bundle.litert_file, bundle.manifest.temperature) as predictor:
        for tile in _tiles(files, bundle.manifest.input.side_px):
            embedding = predictor.outputs(tile[np.newaxis]).embedding[0]
            distance = None if reference is None else reference.distance(embedding)
            verdicts.append(
                frozenset(gate_reasons(record.gate, measure_appearance(tile), distance))
            )
    n_unreadable = len(files) - len(verdicts)
    if not verdicts:
        unreadable = f" that can be read; {n_unreadable} cannot" if n_unreadable else ""
        raise DataError(f"{folder} holds no pictures (JPEG, PNG, TIFF, WebP){unreadable}.")
    return count_flagged(folder.resolve().name, verdicts), n_unreadable


def _tiles(files: list[Path], side_px: int) -> Iterator[NDArray[np.uint8]]:
    for file in tracked("Judging pictures")(files):
        try:
            if file.stat().st_size > _LIMITS.max_bytes:  # a whole slide would fill the memory
                continue
            yield decode_tile(file.read_bytes(), _LIMITS, side_px)
        except (TileError, OSError):
            continue  # counted by the caller as unreadable
