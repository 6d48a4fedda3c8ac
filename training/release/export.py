"""Write the model files of a bundle from one Keras graph."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.core.manifest import INT8_NAME, LITERT_NAME, SAVED_MODEL_NAME, Int8Parity
from training.config import NetworkConfig
from training.errors import RunError
from training.networks.graphs import Weights, build_serving_model
from training.release.quantize import Calibration, quantize

_SIGNATURE: Final = "serving_default"


@dataclass(frozen=True, slots=True)
class Exported:
    """What the manifest says of the model files.

    Attributes:
        embedding_size: numbers of the embedding.
        cam_shape: rows and columns of the Grad-CAM maps.
        int8: how the quantised file compares with the other; None where there is none.
    """

    embedding_size: int
    cam_shape: tuple[int, int]
    int8: Int8Parity | None


def export_models(
    bundle_dir: Path,
    base_weights: Weights,
    head_weights: Weights,
    calibration: Calibration,
    network: NetworkConfig,
) -> Exported:
    """Write `saved_model/` (any batch), `model.tflite` and, of systems made for it, an int8 file.

    Both LiteRT files take one tile at a time, which is where LiteRT is fastest.

    The Keras functional model itself is exported: a `tf.Module` around one does not own its
    variables, so that the LiteRT file shrinks to 1 MB and answers NaN.

    Args:
        bundle_dir: where to; the files must not be there yet.
        base_weights: of the base network.
        head_weights: kernel and bias of the hidden layer, then of the logits.
        calibration: what the quantised file is made and judged with.
        network: which system the weights are of.

    Raises:
        RunError: the system cannot be exported.
    """
    system, side_px = network.entry, network.input_side_px
    if not system.is_exportable:
        raise RunError(f"{system.title} cannot be a bundle: {system.note}.")
    bundle_dir.mkdir(parents=True, exist_ok=True)
    model = build_serving_model(base_weights, head_weights, None, system, side_px)
    _, rows, columns, _ = model.output["cam"].shape
    _export_saved_model(model, bundle_dir / SAVED_MODEL_NAME)
    with tempfile.TemporaryDirectory() as scratch:
        single_dir = Path(scratch) / SAVED_MODEL_NAME
        single = build_serving_model(base_weights, head_weights, 1, system, side_px)
        _export_saved_model(single, single_dir)
        litert_file = bundle_dir / LITERT_NAME
        litert_file.write_bytes(_convert(single_dir))
        parity = None
        if system.has_int8:
            int8, parity = quantize(single_dir, litert_file, calibration)
            (bundle_dir / INT8_NAME).write_bytes(int8)
    return Exported(model.output["embedding"].shape[-1], (rows, columns), parity)


def _export_saved_model(model: Any, path: Path) -> None:
    """As `model.export`, which is made of the same parts, but with every weight stored once.

    `model.export` also tracks the model as a whole, and its variables land in the file a second
    time under another name: 19 MB where 9.5 MB say the same.
    """
    import keras
    import tensorflow

    archive = keras.export.ExportArchive()
    tiles = keras.InputSpec(shape=model.input.shape, dtype="uint8", name="tiles")
    archive.add_endpoint(
        _SIGNATURE, lambda tiles: model(tiles, training=False), input_signature=[tiles]
    )
    try:
        archive.write_out(str(path), verbose=False)
    except tensorflow.errors.OpError as error:  # TensorFlow's own word for a full disk
        raise RunError(f"{path} cannot be written. Make room, then release again.") from error


def _convert(saved_model_dir: Path) -> bytes:
    import tensorflow

    converter = tensorflow.lite.TFLiteConverter.from_saved_model(
        str(saved_model_dir), signature_keys=[_SIGNATURE]
    )
    content: bytes = converter.convert()
    return content
