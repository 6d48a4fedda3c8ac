"""Golden tiles: the drawn tiles of a bundle, whose answers must be those of the release."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.bundle.files import Bundle
from app.core.bundle_errors import GoldenTileError, ManifestError
from app.core.errors import InferenceError, TileError
from app.core.golden_record import (
    GOLDEN_EXPECTED_NAME,
    GoldenRecord,
    label_probabilities,
    parse_golden_record,
)
from app.core.manifest import GOLDEN_NAME, MANIFEST_NAME
from app.core.tile import decode_tile

GOLDEN_TOLERANCE: Final = {"fp32": 1e-3, "mixed": 0.25, "int8": 0.25}
"""Largest accepted difference of a logit from the released one, by precision.

fp32 runtimes differ by about 1e-5. Integer kernels of other processors may round differently, and
one step of the last quantised layers is a noticeable part of a logit. `mixed` (half precision where
it is faster on a GPU) is compared with the fp32 logits.
"""
PROBABILITY_TOLERANCE: Final = 1e-5
"""Largest accepted difference of a probability that both sides compute from the same logits."""


@dataclass(frozen=True, slots=True)
class GoldenTile:
    """A drawn tile (uint8 `[side, side, 3]` RGB) and its logits (float32 `[C]`) at release."""

    name: str
    tile: NDArray[np.uint8]
    logits: NDArray[np.float32]


def read_golden_record(bundle: Bundle) -> GoldenRecord:
    """Parse the released answers.

    Raises:
        ManifestError: `golden/expected.json` is missing or does not follow its schema.
    """
    shown = _shown(bundle, GOLDEN_EXPECTED_NAME)
    content = bundle.golden_files.get(GOLDEN_EXPECTED_NAME)
    if content is None:
        raise ManifestError(shown, "the manifest does not list it")
    return parse_golden_record(content, shown)


def read_golden_tiles(bundle: Bundle, precision: str = "fp32") -> Iterator[GoldenTile]:
    """Yield the bundle's golden tiles, decoded like an upload, with their released logits.

    Args:
        bundle: an opened bundle.
        precision: `int8` yields the logits of the quantised file, any other those of fp32.

    Raises:
        ManifestError: the bundle has no released logits for this precision, or a tile is missing
            or damaged.
    """
    shown = _shown(bundle, GOLDEN_EXPECTED_NAME)
    record = read_golden_record(bundle)
    logits_by_tile = record.logits_int8 if precision == "int8" else record.logits
    if logits_by_tile is None:
        raise ManifestError(shown, "it has no logits_int8")
    for name, logits in sorted(logits_by_tile.items()):
        if name not in bundle.golden_files:
            raise ManifestError(shown, f"the manifest lists no golden/{name}")
        if len(logits) != len(bundle.manifest.labels):
            raise ManifestError(
                shown, f"{name} has {len(logits)} logits for {len(bundle.manifest.labels)} labels"
            )
        try:
            tile = decode_tile(bundle.golden_files[name], side_px=bundle.manifest.input.side_px)
        except TileError as error:
            raise ManifestError(shown, f"golden/{name} cannot be decoded: {error}") from error
        yield GoldenTile(name, tile, np.asarray(logits, dtype=np.float32))


def check_golden_tiles(
    bundle: Bundle,
    infer_logits: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    precision: str = "fp32",
) -> float:
    """Compare what the bundle answers to its golden tiles with the release.

    The runtime must reproduce the released logits, and the manifest's labels and temperature must
    turn those into the released probabilities.

    Args:
        bundle: an opened bundle.
        infer_logits: uint8 `[1, side, side, 3]` -> float32 `[1, C]`.
        precision: a key of `GOLDEN_TOLERANCE`.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        GoldenTileError: a logit differs by more than `GOLDEN_TOLERANCE`, or is NaN.
        ManifestError: the labels or the temperature are not the released ones.
        InferenceError: the bundle has no golden tiles for this precision, or the model returns
            another number of logits.
    """
    return largest_difference(released_tiles(bundle, precision), infer_logits, precision)


def released_tiles(bundle: Bundle, precision: str) -> list[GoldenTile]:
    """Decode the golden tiles, after a check of the labels and the temperature.

    Args:
        bundle: an opened bundle.
        precision: a key of `GOLDEN_TOLERANCE`.

    Raises:
        ManifestError: the labels or the temperature are not the released ones, or as
            `read_golden_tiles`.
        InferenceError: the bundle has no golden tiles for this precision.
    """
    _require_released_answers(bundle)
    tiles = list(read_golden_tiles(bundle, precision))
    if not tiles:
        raise InferenceError("The bundle has no golden tiles, so its answers cannot be checked.")
    return tiles


def largest_difference(
    golden_tiles: Iterable[GoldenTile],
    infer_logits: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    precision: str,
) -> float:
    """Compare a runtime's logits of golden tiles with the released ones.

    Args:
        golden_tiles: of `released_tiles`.
        infer_logits: uint8 `[1, side, side, 3]` -> float32 `[1, C]`.
        precision: a key of `GOLDEN_TOLERANCE`.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        GoldenTileError: a logit differs by more than `GOLDEN_TOLERANCE`, or is NaN.
        InferenceError: the model returns another number of logits.
    """
    largest, tolerance = 0.0, GOLDEN_TOLERANCE[precision]
    for golden in golden_tiles:
        logits = infer_logits(golden.tile[np.newaxis])[0]
        if logits.shape != golden.logits.shape:
            raise InferenceError(
                f"The model returns logits of shape {logits.shape} for {len(golden.logits)} labels."
            )
        difference = float(np.abs(logits - golden.logits).max())
        if not difference <= tolerance:  # true for NaN
            raise GoldenTileError(golden.name, difference, tolerance)
        largest = max(largest, difference)
    return largest


def unchecked_parts(bundle: Bundle) -> str | None:
    """Say what the golden tiles of an older bundle cannot check; None if they check everything.

    Raises:
        ManifestError: `golden/expected.json` cannot be read.
    """
    if read_golden_record(bundle).labels is not None:
        return None
    return (
        "golden/expected.json has only logits, so the labels and the temperature were not compared "
        "with the release; set OSTEO_BUNDLE_SHA256 to accept only this bundle"
    )


def _require_released_answers(bundle: Bundle) -> None:
    record, manifest = read_golden_record(bundle), bundle.manifest
    if record.labels is None:
        return
    shown = f"{manifest.model_name}/{manifest.model_version}/{MANIFEST_NAME}"
    if record.labels != manifest.labels:
        found, expected = (
            ", ".join(f"{label.id} ({label.name}, is_tumor={label.is_tumor})" for label in labels)
            for labels in (manifest.labels, record.labels)
        )
        raise ManifestError(shown, f"its labels are {found}; at release they were {expected}")
    for logits, released in (
        (record.logits, record.probabilities),
        (record.logits_int8, record.probabilities_int8),
    ):
        found_by_tile = label_probabilities(logits or {}, record.labels, manifest.temperature)
        for tile, expected_by_label in (released or {}).items():
            gap = _largest_gap(found_by_tile[tile], expected_by_label)
            if not gap <= PROBABILITY_TOLERANCE:
                raise ManifestError(
                    shown,
                    f"with temperature {manifest.temperature:g} the probabilities of golden tile "
                    f"{tile} differ from the released ones by {gap:.2g}",
                )


def _largest_gap(found: Mapping[str, float], expected: Mapping[str, float]) -> float:
    if found.keys() != expected.keys():
        return 1.0
    return max(abs(found[label] - expected[label]) for label in found)


def _shown(bundle: Bundle, name: str) -> str:
    return f"{bundle.manifest.model_name}/{bundle.manifest.model_version}/{GOLDEN_NAME}/{name}"
