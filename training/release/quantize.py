"""Quantise the LiteRT model to int8 without changing a prediction.

Post-training quantisation with weights per channel, calibrated on real tiles (Jacob et al. 2018,
arXiv:1712.05877). Everything behind the backbone stays in float, because it is a thousandth of the
work and decides the prediction, and so do the texture measures, which count pixels. The first
convolutions lose most by rounding, because they process the smallest differences in colour; so many
of them stay in float that no prediction changes.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from app.core.provenance import Int8Parity
from app.runtime.litert import LiteRtRuntime
from training.console.progress import tracked
from training.release.lite_graph import outside_the_backbone, read_operations

SIGNATURE: Final = "serving_default"
_SLOW: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD")
_HEAD: Final = (
    *("MEAN", "FULLY_CONNECTED", "GREATER", "RESHAPE", "STRIDED_SLICE", "MUL"),
    *("BATCH_MATMUL", "TRANSPOSE"),
)
"""Kinds of operations that stay in float wherever they are."""
_FLOAT_CONVOLUTIONS: Final = (0, 3, 8, 16, 32)
"""Numbers of first convolutions to keep in float, tried in turn; each makes the model slower."""


@dataclass(frozen=True, slots=True)
class CalibrationSet:
    """Tiles that a quantised model is calibrated and compared on.

    Attributes:
        tiles: uint8 `[n, side, side, 3]` RGB.
        temperature: the bundle's temperature.
        index_sha256: SHA-256 of the index that lists these tiles.
    """

    tiles: NDArray[np.uint8]
    temperature: float
    index_sha256: str


def quantize(
    saved_model_dir: Path, litert_file: Path, calibration_set: CalibrationSet
) -> tuple[bytes, Int8Parity]:
    """Quantise a graph with a fixed batch of one tile.

    Args:
        saved_model_dir: the graph.
        litert_file: the same graph as an fp32 LiteRT file, to compare with.
        calibration_set: tiles to calibrate and compare on.

    Returns:
        The first LiteRT file that changes no prediction, or else the one that changes fewest, and
        its parity with fp32.
    """
    reference = LiteRtRuntime(litert_file, n_workers=1)
    logits = reference.infer(calibration_set.tiles).logits
    expected = probabilities_from_logits(logits, calibration_set.temperature)
    reference.close()
    operations = read_operations(litert_file)
    outside = outside_the_backbone(operations)
    inside = [one for one in operations if one not in outside]
    slow = [one.name for one in inside if one.kind in _SLOW]
    # The quantiser knows an operation with several outputs, such as a split, by its kind only.
    kinds = sorted({one.kind for one in outside} - {one.kind for one in inside} | set(_HEAD))
    nodes = [one.name for one in outside]
    candidates: list[tuple[bytes, Int8Parity]] = []
    for n_float in _FLOAT_CONVOLUTIONS:
        content = _convert(saved_model_dir, calibration_set.tiles, kinds, nodes + slow[:n_float])
        candidates.append((content, _compare(content, expected, calibration_set)))
        if candidates[-1][1].n_flips == 0:
            break
    return min(candidates, key=lambda candidate: candidate[1].n_flips)


def lite_converter(saved_model_dir: Path) -> Any:
    """A TensorFlow Lite converter of a graph's serving signature."""
    import tensorflow

    return tensorflow.lite.TFLiteConverter.from_saved_model(
        str(saved_model_dir), signature_keys=[SIGNATURE]
    )


def _convert(
    saved_model_dir: Path,
    tiles: NDArray[np.uint8],
    float_kinds: list[str],
    float_nodes: list[str],
) -> bytes:
    from tensorflow import lite

    converter = lite_converter(saved_model_dir)
    converter.optimizations = [lite.Optimize.DEFAULT]
    tracked_tiles = partial(tracked("Calibrating the int8 file"), list(tiles))
    converter.representative_dataset = lambda: ({"tiles": tile[None]} for tile in tracked_tiles())
    # Only the debugger can keep single operations in float.
    options = lite.experimental.QuantizationDebugOptions(
        denylisted_ops=float_kinds, denylisted_nodes=float_nodes
    )
    with warnings.catch_warnings():
        # It opens TensorFlow's interpreter, which warns at every use that LiteRT replaces it.
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter", UserWarning)
        debugger = lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=lambda: ([tile[None]] for tile in tiles[:1]),
            debug_options=options,
        )
        content: bytes = debugger.get_nondebug_quantized_model()
    return content


def _compare(
    content: bytes, expected: NDArray[np.float32], calibration_set: CalibrationSet
) -> Int8Parity:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "int8.tflite"
        file.write_bytes(content)
        runtime = LiteRtRuntime(file, n_workers=1, precision="int8")
        logits = runtime.infer(calibration_set.tiles).logits
        runtime.close()
    found = probabilities_from_logits(logits, calibration_set.temperature)
    differences: NDArray[np.float32] = np.abs(found - expected)
    return Int8Parity(
        n_tiles=len(expected),
        index_sha256=calibration_set.index_sha256,
        max_probability_difference=float(differences.max()),
        mean_probability_difference=float(differences.mean()),
        n_flips=int((found.argmax(axis=1) != expected.argmax(axis=1)).sum()),
    )
