"""Which layers of a backbone are pooled into features, and at what resolution it sees a tile.

The last layer of a network trained on photographs is tuned to objects. Earlier layers see colour
and texture, which carry over better to the tissue of another patient (`docs/unseen-patients.md`).
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from training.errors import WeightsError
from training.storage.frozen_model import FrozenModel

Pooling = Literal["mean", "deviation", "mean_and_deviation"]
"""What describes a channel of a feature map `[h, w]`: its mean, its standard deviation, or both."""

LAST_LAYER: Final = "last"
"""The feature map that a backbone returns, whatever its name."""
_SMALLEST_VARIANCE: Final = 1e-6
"""The gradient of a square root has no value at 0."""


class BackboneConfig(FrozenModel):
    """What is taken from the backbone."""

    layers: tuple[str, ...] = Field(
        default=(LAST_LAYER,),
        min_length=1,
        description="The pooled layers, by their names in Keras, such as `block_6_expand_relu` of "
        "MobileNetV2; `last` is the last feature map. What comes after the deepest one is left "
        "out of the exported graph.",
    )
    pooling: Pooling = Field(
        default="mean",
        description="What describes a channel of a layer: `mean`, `deviation` (standard deviation "
        "over the map) or `mean_and_deviation`.",
    )
    side_px: int | None = Field(
        default=None,
        ge=8,
        description="Side of the backbone's input in pixels; by default the side for which the "
        "system was made (the paper used 224 for all).",
    )
    tile_side_px: int | None = Field(
        default=None,
        ge=8,
        description="Side to which tiles are decoded, in pixels: a multiple of `side_px`. The "
        "graph averages squares of pixels down to `side_px`. By default `side_px`, so that the "
        "decoder alone reduces tiles.",
    )

    @model_validator(mode="after")
    def _layers_differ(self) -> Self:
        if len(set(self.layers)) != len(self.layers):
            raise ValueError(f"layers names a layer twice: {', '.join(self.layers)}")
        return self

    @property
    def is_default(self) -> bool:
        """Whether the mean of the last layer is pooled, from tiles at the backbone's side."""
        return (*self.layers, self.pooling, self.tile_side_px) == (LAST_LAYER, "mean", None)

    @property
    def n_statistics(self) -> int:
        """Features a channel."""
        return 2 if self.pooling == "mean_and_deviation" else 1


def feature_maps(backbone: Any, config: BackboneConfig) -> Any:
    """A Keras model from the backbone's input to the maps that are pooled.

    Args:
        backbone: scaled float32 `[B, side, side, 3]` to the last feature map.
        config: names the layers.

    Returns:
        A model with a list of outputs, float32 `[B, h, w, K]` each. It has no layer behind the
        deepest one.

    Raises:
        WeightsError: there is no such layer, or its output is not a feature map.
    """
    import keras

    outputs = [_output_of(backbone, name) for name in config.layers]
    return keras.Model(backbone.inputs[0], outputs, name="feature_maps")


def layer_sizes(backbone: Any, config: BackboneConfig) -> tuple[int, ...]:
    """Number of features of each pooled layer, in the order of the embedding."""
    outputs = [_output_of(backbone, name) for name in config.layers]
    return tuple(config.n_statistics * output.shape[-1] for output in outputs)


def reduce_tiles(scaled: Any, side_px: int) -> Any:
    """Average squares of pixels, so that tiles have the backbone's side.

    Args:
        scaled: float32 `[B, n * side, n * side, 3]`, a Keras tensor.
        side_px: side of the backbone's input.
    """
    import keras

    factor = scaled.shape[1] // side_px
    return scaled if factor == 1 else keras.layers.AveragePooling2D(factor)(scaled)


def pool(features: Any, pooling: Pooling) -> Any:
    """Pool a feature map, float32 `[B, h, w, K]`, to `[B, K]`, or `[B, 2 K]` for both statistics.

    A deviation is at least 0.001.
    """
    from keras import ops

    if pooling == "mean":
        return ops.mean(features, axis=(1, 2))
    means = ops.mean(features, axis=(1, 2), keepdims=True)
    deviations = deviation(features, means)
    return (
        deviations
        if pooling == "deviation"
        else ops.concatenate([means[:, 0, 0], deviations], axis=-1)
    )


def deviation(features: Any, means: Any) -> Any:
    """Standard deviations over a map, float32 `[B, K]`, from its means `[B, 1, 1, K]`."""
    from keras import ops

    variance = ops.mean(ops.square(features - means), axis=(1, 2))
    return ops.sqrt(ops.maximum(variance, _SMALLEST_VARIANCE))


def _output_of(backbone: Any, name: str) -> Any:
    if name == LAST_LAYER:
        return backbone.outputs[0]  # a Sequential has no `output` before it is called
    names = [layer.name for layer in backbone.layers]
    if name not in names:
        close = get_close_matches(name, names, n=3)
        raise WeightsError(
            f"network.backbone.layers: {backbone.name} has no layer {name!r}"
            + (f"; the closest are {', '.join(close)}." if close else ".")
        )
    output = backbone.get_layer(name).output
    if len(output.shape) != 4:
        raise WeightsError(f"network.backbone.layers: {name!r} does not return a feature map.")
    return output
