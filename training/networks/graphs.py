"""The network, as Keras graphs: a system's base, global average pooling, Dense 100, Dense 3.

Which base, and how its input is scaled, says `training.networks.registry`. Three graphs share the
weights. `lower` is the frozen part of the base, run once a view; `upper` is what fine-tuning
trains; `build_serving_model` is what is exported: uint8 tiles in, scaling inside.
TensorFlow and Keras are imported when a graph is built, not when this module is.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.manifest import sha256_of_file
from training.data.labels import LABELS
from training.errors import WeightsError
from training.networks.architecture import System
from training.networks.registry import DEFAULT_SYSTEM

Weights = list[NDArray[np.float32]]
"""What `get_weights` of a Keras model or layer returns."""

KERAS_IMAGENET: Final = "imagenet"
UNTRAINED: Final = "none"
_AFTER: Final = "after "


@dataclass(frozen=True, slots=True)
class SplitBase:
    """The base network, whole and in two parts that share its layers.

    Attributes:
        base: scaled float32 `[B, side, side, 3]` to the feature map `[B, h, w, E]`.
        lower: scaled float32 `[B, side, side, 3]` to the input of `upper`; frozen.
        upper: the rest, to the feature map `[B, h, w, E]`; its convolutions may be trained.
    """

    base: Any
    lower: Any
    upper: Any


def require_weights(weights: str, system: System = DEFAULT_SYSTEM) -> None:
    """Fail at once where a path leads nowhere; what the file holds shows when it is loaded.

    Raises:
        WeightsError: there is no such file, or Keras has no weights of this system.
    """
    if weights == KERAS_IMAGENET and not system.is_pretrained:
        raise WeightsError(
            f"There are no public weights of {system.title}: it is trained from scratch. Set "
            f"network.weights, or OSTEO_WEIGHTS, to '{UNTRAINED}'."
        )
    if weights not in (KERAS_IMAGENET, UNTRAINED) and not Path(weights).is_file():
        raise WeightsError(
            f"There are no weights at {weights}. Set OSTEO_WEIGHTS or network.weights to a file "
            f"of {system.title} weights, or to 'imagenet' to let Keras fetch them."
        )


def weights_sha256(weights: str) -> str | None:
    """SHA-256 of a weights file; None where Keras fetches and checks them, or there are none."""
    return None if weights in (KERAS_IMAGENET, UNTRAINED) else sha256_of_file(Path(weights))


def build_base(weights: str, system: System = DEFAULT_SYSTEM, side_px: int | None = None) -> Any:
    """A system's network without its classifier: `[B, side, side, 3]` to `[B, h, w, E]`.

    Args:
        weights: `imagenet`, `none` or the path of a file that Keras can load.
        system: an entry of the registry.
        side_px: of the input; what the system was made for where not given.

    Raises:
        WeightsError: the file is missing, or belongs to another network.
    """
    require_weights(weights, system)
    try:
        with warnings.catch_warnings():
            # Keras says so of every layer of a file that it then refuses: hundreds of lines.
            warnings.filterwarnings("ignore", "Skipping nested container", UserWarning)
            given = None if weights == UNTRAINED else weights
            return system.build(side_px or system.side_px, given)
    except (ValueError, OSError, KeyError) as error:
        raise WeightsError(
            f"{weights} does not hold {system.title} weights (without the classifier)."
        ) from error
    except Exception as error:
        # Keras answers a failed download with a bare Exception; anything else is a defect.
        if weights != KERAS_IMAGENET or type(error) is not Exception:
            raise
        raise WeightsError(
            "Keras could not fetch the ImageNet weights. Without internet, set OSTEO_WEIGHTS to a "
            f"file of {system.title} weights."
        ) from error


def split_base(base: Any, seam: str) -> SplitBase:
    """Cut the base where fine-tuning begins.

    Batch normalisation is not trainable in either part: with few tiles its statistics would be
    those of one batch.

    Args:
        base: what `build_base` returned; both parts keep its layers and weights.
        seam: first layer of `upper`, or `after NAME`, the last one of `lower`.

    Raises:
        WeightsError: there is no such layer, or a shortcut leads past it.
    """
    import keras

    try:
        if seam.startswith(_AFTER):
            cut = base.get_layer(seam.removeprefix(_AFTER)).output
        else:
            cut = base.get_layer(seam).input
        lower = keras.Model(base.input, cut, name="lower")
        upper = keras.Model(cut, base.output, name="upper")
    except ValueError as error:
        raise WeightsError(
            f"fine_tune.first_layer: {base.name} cannot be cut at {seam!r}; take the first layer "
            "of a block, such as 'block_13_expand' of MobileNetV2, or 'after LAYER'."
        ) from error
    lower.trainable = False
    for layer in upper.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    return SplitBase(base, lower, upper)


def build_head(
    hidden_units: int,
    dropout: float,
    seed: int,
    embedding_size: int = DEFAULT_SYSTEM.embedding_size,
) -> Any:
    """The head on pooled features: float32 `[B, E]` to logits `[B, 3]`.

    Args:
        hidden_units: width of the hidden layer; 100 in the paper.
        dropout: on the features, in training only.
        seed: of the initial weights and the dropout.
        embedding_size: of the system.
    """
    import keras

    glorot = keras.initializers.GlorotUniform
    return keras.Sequential(
        [
            keras.layers.Input((embedding_size,)),
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
    import keras

    pooled = keras.layers.GlobalAveragePooling2D()(upper(upper.input, training=False))
    return keras.Model(upper.input, head(pooled), name="tuned")


def build_pooled(base: Any) -> Any:
    """The frozen base with its pooling: scaled float32 `[B, side, side, 3]` to `[B, E]`."""
    import keras

    base.trainable = False
    pooled = keras.layers.GlobalAveragePooling2D()(base(base.input, training=False))
    return keras.Model(base.input, pooled, name="pooled")


def build_whole(base: Any, head: Any, system: System) -> Any:
    """Scaling, base, pooling and head in one graph, which is what training from scratch trains.

    Input: uint8 `[B, side, side, 3]`. Dropout inside the base is at work when it trains.
    """
    import keras

    tiles = keras.Input(base.inputs[0].shape[1:], dtype="uint8", name="tiles")
    pooled = keras.layers.GlobalAveragePooling2D()(base(system.scaling.graph(tiles)))
    return keras.Model(tiles, head(pooled), name="whole")


def build_serving_model(
    base_weights: Sequence[NDArray[np.float32]],
    head_weights: Sequence[NDArray[np.float32]],
    batch_size: int | None = None,
    system: System = DEFAULT_SYSTEM,
    side_px: int | None = None,
) -> Any:
    """The graph that is exported.

    Input `tiles`: uint8 `[B, side, side, 3]` RGB. Outputs, all float32: `logits` `[B, 3]`,
    `embedding` `[B, E]` (the pooled features), `cam` `[B, h, w, 3]` (see `grad_cam`).

    Args:
        base_weights: of the base network.
        head_weights: kernel and bias of the hidden layer, then of the logits.
        batch_size: None lets it vary.
        system: an entry of the registry.
        side_px: of the tiles; what the system was made for where not given.
    """
    import keras

    from training.networks.grad_cam import GradCam

    side_px = side_px or system.side_px
    base = build_base(UNTRAINED, system, side_px)
    base.set_weights(base_weights)
    tiles = keras.Input((side_px, side_px, 3), batch_size, dtype="uint8", name="tiles")
    features = base(system.scaling.graph(tiles), training=False)
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
