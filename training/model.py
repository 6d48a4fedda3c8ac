"""The network, as Keras graphs: MobileNetV2, global average pooling, Dense 100, Dense 3.

Three graphs share the weights. `lower` is the frozen part of the base, run once a view; `upper` is
what fine-tuning trains; `build_serving_model` is what is exported: uint8 tiles in, scaling inside.
TensorFlow and Keras are imported when a graph is built, not when this module is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.manifest import sha256_of_file
from app.core.tile import TILE_SIDE_PX
from training.errors import WeightsError
from training.labels import LABELS

Weights = list[NDArray[np.float32]]
"""What `get_weights` of a Keras model or layer returns."""

BASE_NAME: Final = "MobileNetV2"
EMBEDDING_SIZE: Final = 1280
CAM_SHAPE: Final = (7, 7)
KERAS_IMAGENET: Final = "imagenet"
UNTRAINED: Final = "none"


@dataclass(frozen=True, slots=True)
class SplitBase:
    """The base network, whole and in two parts that share its layers.

    Attributes:
        base: float32 `[B, 224, 224, 3]` in [-1, 1] to the feature map `[B, 7, 7, 1280]`.
        lower: float32 `[B, 224, 224, 3]` in [-1, 1] to the input of `upper`; frozen.
        upper: the rest, to the feature map `[B, 7, 7, 1280]`; its convolutions may be trained.
    """

    base: Any
    lower: Any
    upper: Any


def require_weights(weights: str) -> None:
    """Fail at once where a path leads nowhere; what the file holds shows when it is loaded.

    Raises:
        WeightsError: there is no such file.
    """
    if weights not in (KERAS_IMAGENET, UNTRAINED) and not Path(weights).is_file():
        raise WeightsError(
            f"There are no weights at {weights}. Set OSTEO_WEIGHTS or network.weights to a file "
            f"of {BASE_NAME} weights, or to 'imagenet' to let Keras fetch them."
        )


def weights_sha256(weights: str) -> str | None:
    """SHA-256 of a weights file; None where Keras fetches and checks them, or there are none."""
    return None if weights in (KERAS_IMAGENET, UNTRAINED) else sha256_of_file(Path(weights))


def build_base(weights: str) -> Any:
    """MobileNetV2 without its classifier: float32 `[B, 224, 224, 3]` to `[B, 7, 7, 1280]`.

    Args:
        weights: `imagenet`, `none` or the path of a file that Keras can load.

    Raises:
        WeightsError: the file is missing, or belongs to another network.
    """
    import keras  # noqa: PLC0415 - seconds to import

    require_weights(weights)
    try:
        return keras.applications.MobileNetV2(
            input_shape=(TILE_SIDE_PX, TILE_SIDE_PX, 3),
            include_top=False,
            weights=None if weights == UNTRAINED else weights,
        )
    except (ValueError, OSError, KeyError) as error:
        raise WeightsError(
            f"{weights} does not hold {BASE_NAME} weights (width 1.0, without the classifier)."
        ) from error
    except Exception as error:
        # Keras answers a failed download with a bare Exception; anything else is a defect.
        if weights != KERAS_IMAGENET or type(error) is not Exception:
            raise
        raise WeightsError(
            "Keras could not fetch the ImageNet weights. Without internet, set OSTEO_WEIGHTS to a "
            "file."
        ) from error


def split_base(base: Any, first_layer: str) -> SplitBase:
    """Cut the base where fine-tuning begins.

    Batch normalisation is not trainable in either part: with few tiles its statistics would be
    those of one batch.

    Args:
        base: what `build_base` returned; both parts keep its layers and weights.
        first_layer: first layer of `upper`.

    Raises:
        WeightsError: there is no such layer, or a shortcut leads past it.
    """
    import keras  # noqa: PLC0415

    try:
        seam = base.get_layer(first_layer).input
        lower = keras.Model(base.input, seam, name="lower")
        upper = keras.Model(seam, base.output, name="upper")
    except ValueError as error:
        raise WeightsError(
            f"fine_tune.first_layer: {BASE_NAME} cannot be cut before {first_layer!r}; take the "
            "first layer of a block, such as 'block_13_expand'."
        ) from error
    lower.trainable = False
    for layer in upper.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    return SplitBase(base, lower, upper)


def build_head(hidden_units: int, dropout: float, seed: int) -> Any:
    """The head on pooled features: float32 `[B, 1280]` to logits `[B, 3]`.

    Args:
        hidden_units: width of the hidden layer; 100 in the paper.
        dropout: on the features, in training only.
        seed: of the initial weights and the dropout.
    """
    import keras  # noqa: PLC0415

    glorot = keras.initializers.GlorotUniform
    return keras.Sequential(
        [
            keras.layers.Input((EMBEDDING_SIZE,)),
            keras.layers.Dropout(dropout, seed=seed),
            keras.layers.Dense(
                hidden_units, activation="relu", kernel_initializer=glorot(seed), name="hidden"
            ),
            keras.layers.Dense(len(LABELS), kernel_initializer=glorot(seed + 1), name="logits"),
        ],
        name="head",
    )


def build_tuned(upper: Any, head: Any) -> Any:
    """`upper`, pooling and head in one graph, which is what fine-tuning trains."""
    import keras  # noqa: PLC0415

    pooled = keras.layers.GlobalAveragePooling2D()(upper(upper.input, training=False))
    return keras.Model(upper.input, head(pooled), name="tuned")


def build_serving_model(
    base_weights: Sequence[NDArray[np.float32]],
    head_weights: Sequence[NDArray[np.float32]],
    batch_size: int | None = None,
) -> Any:
    """The graph that is exported.

    Input `tiles`: uint8 `[B, 224, 224, 3]` RGB. Outputs, all float32: `logits` `[B, 3]`,
    `embedding` `[B, 1280]` (the pooled features), `cam` `[B, 7, 7, 3]` (see `grad_cam`).

    Args:
        base_weights: of the base network.
        head_weights: kernel and bias of the hidden layer, then of the logits.
        batch_size: None lets it vary.
    """
    import keras  # noqa: PLC0415

    from training.cam import GradCam  # noqa: PLC0415 - a Keras layer, so it needs Keras

    base = build_base(UNTRAINED)
    base.set_weights(base_weights)
    side_px = TILE_SIDE_PX
    tiles = keras.Input((side_px, side_px, 3), batch_size, dtype="uint8", name="tiles")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(tiles)
    features = base(scaled, training=False)
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(features)
    hidden_layer = keras.layers.Dense(head_weights[0].shape[1], activation="relu", name="hidden")
    logits_layer = keras.layers.Dense(head_weights[2].shape[1], name="logits")
    hidden = hidden_layer(embedding)
    logits = logits_layer(hidden)
    hidden_layer.set_weights(head_weights[:2])
    logits_layer.set_weights(head_weights[2:])
    cam = GradCam(hidden_layer, logits_layer, name="cam")(features, hidden)
    outputs = {"logits": logits, "embedding": embedding, "cam": cam}
    return keras.Model(tiles, outputs, name="osteo")
