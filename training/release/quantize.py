"""Quantise the LiteRT model to int8 without changing a prediction.

Post-training quantisation, weights per channel, calibrated on real tiles (Jacob et al. 2018,
arXiv:1712.05877). The head stays in float: it is a thousandth of the work and all of the answer.
The first convolutions see the smallest steps in colour and lose most by rounding, so as many of
them stay in float as it takes to change no prediction.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from app.core.manifest import Int8Parity
from app.runtime.litert import LiteRtRuntime

_SIGNATURE: Final = "serving_default"
_CONVOLUTIONS: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD")
_HEAD: Final = (
    *("MEAN", "FULLY_CONNECTED", "GREATER", "RESHAPE", "STRIDED_SLICE", "MUL"),
    *("BATCH_MATMUL", "TRANSPOSE"),
)
_FLOAT_CONVOLUTIONS: Final = (0, 3, 8, 16, 32)
"""How many of the first convolutions stay in float, tried in turn; each rung costs time."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a quantised file is made and judged with.

    Attributes:
        tiles: uint8 `[n, side, side, 3]`.
        temperature: of the bundle.
        index_sha256: of the index that names these tiles.
    """

    tiles: NDArray[np.uint8]
    temperature: float
    index_sha256: str


def quantize(
    saved_model_dir: Path, litert_file: Path, calibration: Calibration
) -> tuple[bytes, Int8Parity]:
    """Quantise a graph with a fixed batch of one tile.

    Args:
        saved_model_dir: the graph.
        litert_file: the same graph as a fp32 LiteRT file, which is what int8 is held against.
        calibration: tiles to calibrate with and to compare on.

    Returns:
        The LiteRT file that changes fewest predictions, first of all none, and its parity report.
    """
    reference = LiteRtRuntime(litert_file, n_workers=1)
    logits = reference.infer(calibration.tiles).logits
    expected = probabilities_from_logits(logits, calibration.temperature)
    reference.close()
    convolutions = _convolution_outputs(litert_file)
    rungs: list[tuple[bytes, Int8Parity]] = []
    for n_float in _FLOAT_CONVOLUTIONS:
        content = _convert(saved_model_dir, calibration.tiles, convolutions[:n_float])
        rungs.append((content, _compare(content, expected, calibration)))
        if rungs[-1][1].n_flips == 0:
            break
    return min(rungs, key=lambda rung: rung[1].n_flips)


def _convolution_outputs(litert_file: Path) -> list[str]:
    """Names of the convolutions' output tensors, in the order of the graph."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(litert_file), num_threads=1)
    interpreter.allocate_tensors()
    return [
        interpreter._get_tensor_details(operation["outputs"][0], 0)["name"]
        for operation in interpreter._get_ops_details()
        if operation["op_name"] in _CONVOLUTIONS
    ]


def _convert(saved_model_dir: Path, tiles: NDArray[np.uint8], float_nodes: list[str]) -> bytes:
    import tensorflow

    lite = tensorflow.lite
    converter = lite.TFLiteConverter.from_saved_model(
        str(saved_model_dir), signature_keys=[_SIGNATURE]
    )
    converter.optimizations = [lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ({"tiles": tile[None]} for tile in tiles)
    # The debugger is what lets single operations keep their precision.
    options = lite.experimental.QuantizationDebugOptions(
        denylisted_ops=list(_HEAD), denylisted_nodes=float_nodes
    )
    with warnings.catch_warnings():
        # It opens TensorFlow's own interpreter, which says at every use that LiteRT succeeds it.
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter", UserWarning)
        debugger = lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=lambda: ([tile[None]] for tile in tiles[:1]),
            debug_options=options,
        )
        content: bytes = debugger.get_nondebug_quantized_model()
    return content


def _compare(content: bytes, expected: NDArray[np.float32], calibration: Calibration) -> Int8Parity:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "int8.tflite"
        file.write_bytes(content)
        runtime = LiteRtRuntime(file, n_workers=1, precision="int8")
        logits = runtime.infer(calibration.tiles).logits
        runtime.close()
    found = probabilities_from_logits(logits, calibration.temperature)
    differences: NDArray[np.float32] = np.abs(found - expected)
    return Int8Parity(
        n_tiles=len(expected),
        index_sha256=calibration.index_sha256,
        max_probability_difference=float(differences.max()),
        mean_probability_difference=float(differences.mean()),
        n_flips=int((found.argmax(axis=1) != expected.argmax(axis=1)).sum()),
    )
