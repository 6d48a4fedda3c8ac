"""The two networks: a small class-conditional generator and a projection discriminator.

The generator (after DCGAN, Radford et al. 2016, arXiv:1511.06434) turns noise and a label's
embedding into a tile. The discriminator scores a tile given its label: it adds the inner product of
the label's embedding with the tile's features to the score (Miyato & Koyama 2018,
arXiv:1802.05637). Its layers are spectrally normalised (Miyato et al. 2018, arXiv:1802.05957).
No layer has batch statistics, so the averaged generator needs no recomputed ones.
"""

from __future__ import annotations

import math
from typing import Any, Final

FIRST_SIDE_PX: Final = 4
"""Side of the smallest feature map; each stage doubles it."""
_LEAK: Final = 0.2


def build_generator(side_px: int, latent_size: int, width: int, n_labels: int) -> Any:
    """Build the network from noise and label to a tile.

    Args:
        side_px: side of the tile, a power of two.
        latent_size: length of the noise vector.
        width: channels at full size; each smaller stage has twice as many, at most eight times.
        n_labels: number of labels.

    Returns:
        A Keras graph of (noise float32 `[B, latent_size]`, label int32 `[B]`) to float32
        `[B, side_px, side_px, 3]` RGB in [-1, 1].
    """
    import keras

    layers = keras.layers
    noise = keras.Input((latent_size,), name="noise")
    label = keras.Input((), dtype="int32", name="label")
    told = layers.Embedding(n_labels, latent_size, _as_noise(), name="told")(label)
    n_stages = _n_stages(side_px)
    channels = _channels(width, n_stages)
    side = FIRST_SIDE_PX
    x = layers.Concatenate()([noise, told])
    x = layers.Dense(side * side * channels)(x)
    x = layers.Reshape((side, side, channels))(x)
    for stage in range(n_stages - 1, -1, -1):
        x = layers.Activation("relu")(layers.GroupNormalization(8)(x))
        x = layers.UpSampling2D(2)(x)
        x = layers.Conv2D(_channels(width, stage), 3, padding="same")(x)
    x = layers.Activation("relu")(layers.GroupNormalization(8)(x))
    tile = layers.Conv2D(3, 3, padding="same", activation="tanh")(x)
    return keras.Model([noise, label], tile, name="generator")


def build_discriminator(side_px: int, width: int, n_labels: int) -> Any:
    """Build the network from tile and label to a score: higher for more realistic tiles.

    Args:
        side_px: side of the tile, a power of two.
        width: channels after the first stage; each further stage has twice as many, at most eight
            times.
        n_labels: number of labels.

    Returns:
        A Keras graph of (tile float32 `[B, side_px, side_px, 3]` in [-1, 1], label int32 `[B]`) to
        float32 `[B, 1]`.
    """
    import keras

    layers, normalised = keras.layers, keras.layers.SpectralNormalization
    tile = keras.Input((side_px, side_px, 3), name="tile")
    label = keras.Input((), dtype="int32", name="label")
    n_stages = _n_stages(side_px)
    x = tile
    for stage in range(n_stages):
        x = normalised(layers.Conv2D(_channels(width, stage), 4, strides=2, padding="same"))(x)
        x = layers.LeakyReLU(_LEAK)(x)
    channels = _channels(width, n_stages)
    x = normalised(layers.Conv2D(channels, 3, padding="same"))(x)
    features = layers.GlobalAveragePooling2D()(layers.LeakyReLU(_LEAK)(x))
    # A normalised embedding would get no gradient.
    told = layers.Embedding(n_labels, channels, _as_noise())(label)
    score = layers.Add()(
        [normalised(layers.Dense(1))(features), layers.Dot(axes=1)([told, features])]
    )
    return keras.Model([tile, label], score, name="discriminator")


def _as_noise() -> Any:
    """Embeddings as large as the noise: Keras's default is twenty times smaller."""
    import keras

    return keras.initializers.RandomNormal(stddev=1.0)


def _n_stages(side_px: int) -> int:
    return int(math.log2(side_px // FIRST_SIDE_PX))


def _channels(width: int, stage: int) -> int:
    return int(width * min(2**stage, 8))
