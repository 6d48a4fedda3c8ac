"""Write the two model files of a bundle from one Keras graph."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

from app.core.manifest import LITERT_NAME, SAVED_MODEL_NAME
from training.model import Weights, build_serving_model

_SIGNATURE: Final = "serving_default"


def export_models(bundle_dir: Path, base_weights: Weights, head_weights: Weights) -> None:
    """Write `saved_model/` (any batch) and `model.tflite` (batch 1, where LiteRT is fastest).

    The Keras functional model itself is exported: a `tf.Module` around one does not own its
    variables, so the LiteRT file would shrink to 1 MB and answer NaN.

    Args:
        bundle_dir: where to; the files must not be there yet.
        base_weights: of the base network.
        head_weights: kernel and bias of the hidden layer, then of the logits.
    """
    bundle_dir.mkdir(parents=True, exist_ok=True)
    _export_saved_model(
        build_serving_model(base_weights, head_weights), bundle_dir / SAVED_MODEL_NAME
    )
    with tempfile.TemporaryDirectory() as scratch:
        single_dir = Path(scratch) / SAVED_MODEL_NAME
        _export_saved_model(
            build_serving_model(base_weights, head_weights, batch_size=1), single_dir
        )
        (bundle_dir / LITERT_NAME).write_bytes(_convert(single_dir))


def _export_saved_model(model: Any, path: Path) -> None:
    model.export(str(path), format="tf_saved_model", verbose=False)


def _convert(saved_model_dir: Path) -> bytes:
    import tensorflow  # noqa: PLC0415 - seconds to import

    converter = tensorflow.lite.TFLiteConverter.from_saved_model(
        str(saved_model_dir), signature_keys=[_SIGNATURE]
    )
    content: bytes = converter.convert()
    return content
