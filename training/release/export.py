"""Export the model files of a bundle from one Keras graph."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.core.manifest import INT8_NAME, LITERT_NAME, SAVED_MODEL_NAME
from app.core.provenance import Int8Parity
from training.console.progress import Begin
from training.errors import RunError
from training.networks.config import NetworkConfig
from training.networks.graphs import Weights, build_serving_model
from training.release.quantize import SIGNATURE, CalibrationSet, lite_converter, quantize

N_EXPORT_STEPS: Final = 3


@dataclass(frozen=True, slots=True)
class Exported:
    """Properties of the exported files, for the manifest.

    Attributes:
        embedding_size: length of an embedding.
        cam_shape: (rows, columns) of the Grad-CAM maps.
        int8: parity of the int8 file with the fp32 file; None if there is no int8 file.
    """

    embedding_size: int
    cam_shape: tuple[int, int]
    int8: Int8Parity | None


def export_models(
    bundle_dir: Path,
    backbone_weights: Weights,
    head_weights: Weights,
    calibration_set: CalibrationSet,
    network: NetworkConfig,
    begin: Begin,
) -> Exported:
    """Write `saved_model/` (any batch size), `model.tflite` and, if supported, an int8 file.

    The LiteRT files take one tile at a time, because LiteRT is fastest that way.

    The Keras functional model itself is exported. A `tf.Module` around it would not own its
    variables: the LiteRT file would be only 1 MB and return NaN.

    Args:
        bundle_dir: receives the files.
        backbone_weights: as `fit_classifier` returns them.
        head_weights: likewise.
        calibration_set: tiles for the int8 file.
        network: the system and its input.
        begin: is told of each of the `N_EXPORT_STEPS` steps.

    Raises:
        RunError: the disk is full.
    """
    begin("SavedModel")
    bundle_dir.mkdir(parents=True, exist_ok=True)
    model = build_serving_model(
        backbone_weights,
        head_weights,
        network.entry,
        network.backbone,
        network.texture_weight > 0,
    )
    _, rows, columns, _ = model.output["cam"].shape
    _export_saved_model(model, bundle_dir / SAVED_MODEL_NAME, batch_size=None)
    begin("LiteRT file")
    with tempfile.TemporaryDirectory() as scratch:
        single_dir = Path(scratch) / SAVED_MODEL_NAME
        _export_saved_model(model, single_dir, batch_size=1)
        litert_file = bundle_dir / LITERT_NAME
        litert_file.write_bytes(lite_converter(single_dir).convert())
        begin("int8 file")
        parity = None
        if network.entry.has_int8:
            int8, parity = quantize(single_dir, litert_file, calibration_set)
            (bundle_dir / INT8_NAME).write_bytes(int8)
    return Exported(model.output["embedding"].shape[-1], (rows, columns), parity)


def _export_saved_model(model: Any, path: Path, batch_size: int | None) -> None:
    """As `model.export`, but with every weight stored once; a batch size of None accepts any.

    `model.export` also tracks the model as a whole, which stores its variables a second time under
    another name: 19 MB instead of 9.5 MB.
    """
    import keras
    import tensorflow

    archive = keras.export.ExportArchive()
    tiles = keras.InputSpec(shape=(batch_size, *model.input.shape[1:]), dtype="uint8", name="tiles")
    archive.add_endpoint(
        SIGNATURE, lambda tiles: model(tiles, training=False), input_signature=[tiles]
    )
    try:
        archive.write_out(str(path), verbose=False)
    except tensorflow.errors.OpError as error:  # a full disk is one of them
        raise RunError(f"{path} cannot be written. Free disk space, then release again.") from error
