"""Systems without public weights: every layer is trained from random values."""

from __future__ import annotations

from typing import Any, Final

from training.networks.architecture import ZERO_TO_ONE, System

_L2: Final = 1e-3


def _build_alexnet(side_px: int, weights: str | None) -> Any:
    """AlexNet's convolutions in the single-tower form, without local response normalisation."""
    import keras
    from keras import layers

    backbone = keras.Sequential(
        [
            layers.Input((side_px, side_px, 3)),
            layers.ZeroPadding2D(2),
            layers.Conv2D(64, 11, strides=4, activation="relu", name="conv1"),
            layers.MaxPooling2D(3, strides=2),
            layers.Conv2D(192, 5, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(3, strides=2),
            layers.Conv2D(384, 3, padding="same", activation="relu", name="conv3"),
            layers.Conv2D(256, 3, padding="same", activation="relu", name="conv4"),
            layers.Conv2D(256, 3, padding="same", activation="relu", name="conv5"),
            layers.MaxPooling2D(3, strides=2),
        ],
        name="alexnet",
    )
    return _with_weights(backbone, weights)


def _build_compact(side_px: int, weights: str | None) -> Any:
    """Four small blocks of convolution and pooling, regularised by L2 and dropout."""
    import keras
    from keras import layers

    backbone = keras.Sequential([layers.Input((side_px, side_px, 3))], name="compact")
    for number, filters in enumerate((32, 64, 128, 128), start=1):
        backbone.add(
            layers.Conv2D(
                filters,
                3,
                padding="same",
                activation="relu",
                kernel_regularizer=keras.regularizers.L2(_L2),
                name=f"conv{number}",
            )
        )
        backbone.add(layers.MaxPooling2D(2))
        backbone.add(layers.Dropout(0.25))
    return _with_weights(backbone, weights)


def _with_weights(backbone: Any, weights: str | None) -> Any:
    if weights is not None:
        backbone.load_weights(weights)
    return backbone


ALEXNET: Final = System(
    name="alexnet",
    title="AlexNet",
    build=_build_alexnet,
    min_side_px=63,
    embedding_size=256,
    map_side=6,
    n_parameters=2_469_696,
    paper="compared with",
    reference="Krizhevsky 2014, arXiv:1404.5997 (Krizhevsky et al. 2012)",
    licence="none: Keras has no weights",
    note="from scratch; the study's head replaces its two layers of 4,096",
    is_pretrained=False,
)
COMPACT_CNN: Final = System(
    name="ahmed-cnn",
    title="Compact CNN (after Ahmed et al.)",
    build=_build_compact,
    scaling=ZERO_TO_ONE,
    side_px=128,
    embedding_size=128,
    map_side=8,
    n_parameters=240_832,
    paper="compared with (75 to 86 %)",
    reference="after Ahmed et al. 2021, doi:10.32604/cmc.2021.018486",
    licence="none: from scratch",
    note="from scratch; their idea (L2, dropout, oversampling), not their layers",
    is_pretrained=False,
    oversamples=True,
)
