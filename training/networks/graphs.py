"""The network as Keras graphs: a backbone, pooling of one or several layers, Dense 100, Dense C.

`training.networks.registry` says which backbone a system has and how its input is scaled. The
graphs share their weights: `SplitBackbone.frozen` runs once for each view, fine-tuning trains
`SplitBackbone.trainable` with the head, and `build_serving_model` builds what is exported, with
uint8 tiles as input and the scaling inside. TensorFlow and Keras are imported when a graph is
built, not when this module is imported.
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
from training.errors import WeightsError
from training.networks.architecture import System
from training.networks.backbone import BackboneConfig, feature_maps, pool, reduce_tiles
from training.networks.registry import DEFAULT_SYSTEM

Weights = list[NDArray[np.float32]]
"""What `get_weights` of a Keras model or layer returns."""

KERAS_IMAGENET: Final = "imagenet"
UNTRAINED: Final = "none"
_AFTER: Final = "after "


@dataclass(frozen=True, slots=True)
class SplitBackbone:
    """A backbone, whole and in two parts that share its layers.

    Attributes:
        backbone: scaled float32 `[B, side, side, 3]` to the feature map `[B, h, w, E]`.
        frozen: scaled float32 `[B, side, side, 3]` to the input of `trainable`.
        trainable: the rest, to the feature map `[B, h, w, E]`; everything but its batch
            normalisation may be trained.
    """

    backbone: Any
    frozen: Any
    trainable: Any


def require_weights(weights: str, system: System = DEFAULT_SYSTEM) -> None:
    """Fail early if a weights file is missing; its content is checked when it is loaded.

    Raises:
        WeightsError: there is no such file, or Keras has no weights for this system.
    """
    if weights == KERAS_IMAGENET and not system.is_pretrained:
        raise WeightsError(
            f"There are no public weights for {system.title}: it is trained from scratch. Set "
            f"network.weights, or OSTEO_WEIGHTS, to '{UNTRAINED}'."
        )
    if weights not in (KERAS_IMAGENET, UNTRAINED) and not Path(weights).is_file():
        raise WeightsError(
            f"There are no weights at {weights}. Set OSTEO_WEIGHTS or network.weights to a file "
            f"of {system.title} weights, or to 'imagenet' to let Keras download them."
        )


def weights_sha256(weights: str) -> str | None:
    """SHA-256 of a weights file; None if Keras downloads and checks them, or there are none."""
    return None if weights in (KERAS_IMAGENET, UNTRAINED) else sha256_of_file(Path(weights))


def build_backbone(
    weights: str, system: System = DEFAULT_SYSTEM, side_px: int | None = None
) -> Any:
    """A system's network without its classifier: `[B, side, side, 3]` to `[B, h, w, E]`.

    Args:
        weights: `imagenet`, `none` or the path of a file that Keras can load.
        system: an entry of the registry.
        side_px: side of the input; by default the side that the system was made for.

    Raises:
        WeightsError: the file is missing, or holds the weights of another network.
    """
    require_weights(weights, system)
    try:
        with warnings.catch_warnings():
            # Before Keras refuses a file it warns about each of its layers: hundreds of lines.
            warnings.filterwarnings("ignore", "Skipping nested container", UserWarning)
            given = None if weights == UNTRAINED else weights
            return system.build(side_px or system.side_px, given)
    except (ValueError, OSError, KeyError) as error:
        raise WeightsError(
            f"{weights} does not hold {system.title} weights (without the classifier)."
        ) from error
    except Exception as error:
        # Keras reports a failed download with a bare Exception; any other error is a defect.
        if weights != KERAS_IMAGENET or type(error) is not Exception:
            raise
        raise WeightsError(
            "Keras could not download the ImageNet weights. Without internet, set OSTEO_WEIGHTS to "
            f"a file of {system.title} weights."
        ) from error


def split_backbone(backbone: Any, seam: str) -> SplitBackbone:
    """Cut the backbone where fine-tuning begins.

    Batch normalisation is not trainable in either part: few tiles would give it the statistics of a
    single batch.

    Args:
        backbone: what `build_backbone` returned; both parts keep its layers and weights.
        seam: first layer of the trainable part, or `after NAME`, the last layer of the frozen one.

    Raises:
        WeightsError: there is no such layer, or a shortcut bypasses it.
    """
    import keras

    try:
        if seam.startswith(_AFTER):
            cut = backbone.get_layer(seam.removeprefix(_AFTER)).output
        else:
            cut = backbone.get_layer(seam).input
        frozen = keras.Model(backbone.input, cut, name="frozen")
        trainable = keras.Model(cut, backbone.output, name="trainable")
    except ValueError as error:
        raise WeightsError(
            f"fine_tune.first_layer: {backbone.name} cannot be cut at {seam!r}; name the first "
            "layer of a block, such as 'block_13_expand' of MobileNetV2, or 'after LAYER'."
        ) from error
    frozen.trainable = False
    for layer in trainable.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    return SplitBackbone(backbone, frozen, trainable)


def build_head(
    hidden_units: int,
    dropout: float,
    seed: int,
    n_labels: int,
    embedding_size: int = DEFAULT_SYSTEM.embedding_size,
) -> Any:
    """The head on pooled features: float32 `[B, E]` to logits `[B, C]`.

    Args:
        hidden_units: width of the hidden layer; 100 in the seed paper.
        dropout: applied to the features, in training only.
        seed: decides the initial weights and the dropout.
        n_labels: C.
        embedding_size: E of the system.
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
            keras.layers.Dense(n_labels, kernel_initializer=glorot(seed + 1), name="logits"),
        ],
        name="head",
    )


def build_tuned(trainable: Any, head: Any) -> Any:
    """The trainable part, pooling and head in one graph, which fine-tuning trains."""
    import keras

    pooled = keras.layers.GlobalAveragePooling2D()(trainable(trainable.input, training=False))
    return keras.Model(trainable.input, head(pooled), name="tuned")


def build_pooled(backbone: Any, config: BackboneConfig | None = None) -> Any:
    """The frozen backbone and its pooling: scaled `[B, tile_side, tile_side, 3]` to `[B, E]`.

    Raises:
        WeightsError: the backbone has no such layer.
    """
    import keras

    config = config or BackboneConfig()
    backbone.trainable = False
    maps = feature_maps(backbone, config)
    side_px = backbone.input.shape[1]
    scaled = keras.Input((config.tile_side_px or side_px,) * 2 + (3,))
    embedding = _embedding(maps(reduce_tiles(scaled, side_px), training=False), config)
    return keras.Model(scaled, embedding, name="pooled")


def build_whole(backbone: Any, head: Any, system: System) -> Any:
    """Scaling, backbone, pooling and head in one graph, which training from scratch trains.

    Input: uint8 `[B, side, side, 3]`. Dropout inside the backbone is active in training.
    """
    import keras

    tiles = keras.Input(backbone.inputs[0].shape[1:], dtype="uint8", name="tiles")
    pooled = keras.layers.GlobalAveragePooling2D()(backbone(system.scaling.graph(tiles)))
    return keras.Model(tiles, head(pooled), name="whole")


def build_serving_model(
    backbone_weights: Sequence[NDArray[np.float32]],
    head_weights: Sequence[NDArray[np.float32]],
    system: System = DEFAULT_SYSTEM,
    config: BackboneConfig | None = None,
    has_texture: bool = False,
) -> Any:
    """The graph that is exported.

    Input `tiles`: uint8 `[B, tile_side, tile_side, 3]` RGB. Outputs, all float32: `logits`
    `[B, C]`, `embedding` `[B, E]` (the pooled features of all layers), `cam` `[B, h, w, C]` (from
    `EvidenceMaps`).

    Args:
        backbone_weights: what `get_weights` of the whole backbone returns.
        head_weights: kernel and bias of the hidden layer, then of the logits.
        system: an entry of the registry.
        config: layers, pooling and sides; by default the mean of the last layer.
        has_texture: the head takes the embedding, then the measures of `texture.Texture`.

    Raises:
        WeightsError: the backbone has no such layer.
    """
    import keras

    from training.networks.evidence_maps import EvidenceMaps

    config = config or BackboneConfig()
    side_px = config.side_px or system.side_px
    backbone = build_backbone(UNTRAINED, system, side_px)
    backbone.set_weights(backbone_weights)
    tiles = keras.Input((config.tile_side_px or side_px,) * 2 + (3,), dtype="uint8", name="tiles")
    scaled = reduce_tiles(system.scaling.graph(tiles), side_px)
    maps = as_list(feature_maps(backbone, config)(scaled, training=False))
    embedding = keras.layers.Identity(name="embedding")(_embedding(maps, config))
    hidden_layer = keras.layers.Dense(head_weights[0].shape[1], activation="relu", name="hidden")
    logits_layer = keras.layers.Dense(head_weights[2].shape[1], name="logits")
    head_input = embedding
    if has_texture:
        from training.networks.texture import Texture

        head_input = keras.ops.concatenate([embedding, Texture(name="texture")(tiles)], axis=-1)
    hidden = hidden_layer(head_input)
    logits = logits_layer(hidden)
    hidden_layer.set_weights(head_weights[:2])
    logits_layer.set_weights(head_weights[2:])
    cam = EvidenceMaps(hidden_layer, logits_layer, config.pooling, name="cam")(maps, hidden)
    outputs = {"logits": logits, "embedding": embedding, "cam": cam}
    return keras.Model(tiles, outputs, name="osteo")


def _embedding(maps: Any, config: BackboneConfig) -> Any:
    from keras import ops

    parts = [pool(features, config.pooling) for features in as_list(maps)]
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)


def as_list(outputs: Any) -> list[Any]:
    """Keras returns a single output bare, and several in a list."""
    return outputs if isinstance(outputs, list) else [outputs]
