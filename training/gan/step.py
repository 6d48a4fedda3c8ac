"""One training step of a GAN: the batch, and the losses of both networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.gan.differentiable import augment

MODE_SEEKING: Final = 0.1
"""Weight of the mode-seeking term (Mao et al. 2019, arXiv:1903.05628). Without it, on the 41 sample
tiles, the generator made one and the same tile of a label from all noise."""


def draw_batch(
    tiles: NDArray[np.uint8],
    class_indices: NDArray[np.int64],
    n: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Tiles of equally likely labels, each rotated and mirrored at random, and their labels."""
    labels = rng.choice(np.unique(class_indices), n)
    chosen = [int(rng.choice(np.flatnonzero(class_indices == label))) for label in labels]
    turns, mirrored = rng.integers(4, size=n), rng.integers(2, size=n)
    shown = [
        np.rot90(tiles[i], turn)[:, :: -1 if mirror else 1]
        for i, turn, mirror in zip(chosen, turns, mirrored, strict=True)
    ]
    return np.stack(shown), labels


def _sameness(made: Any, noise: Any) -> Any:
    """Mean ratio of the distance of noise vectors to that of their tiles, of equal labels."""
    import tensorflow as tf

    half = noise.shape[0] // 2
    apart = tf.reduce_mean(tf.abs(noise[:half] - noise[half:]), axis=1)
    shown = tf.reduce_mean(tf.abs(made[:half] - made[half:]), axis=[1, 2, 3])
    return tf.reduce_mean(apart / (shown + 0.02))


def make_step(generator: Any, discriminator: Any, optimizers: Sequence[Any]) -> Any:
    """Compile a step of both networks that returns (generator's loss, discriminator's loss).

    The two halves of the generator's second batch must have the same labels.
    """
    import tensorflow as tf

    # No Python branch depends on a tensor, so AutoGraph would only make tracing slower.
    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator] # no types
    def step(*arrays: Any) -> Any:
        # Compiled functions get tensors; functions that are run eagerly get what was given.
        real, labels, noise, wanted, seeds = map(tf.convert_to_tensor, arrays)
        made = generator([noise[0], wanted[0]], training=True)
        with tf.GradientTape() as tape:
            on_real = discriminator([augment(real, seeds[0]), labels], training=True)
            on_made = discriminator([augment(made, seeds[1]), wanted[0]], training=True)
            d_loss = tf.reduce_mean(tf.nn.relu(1.0 - on_real))
            d_loss += tf.reduce_mean(tf.nn.relu(1.0 + on_made))
        variables = discriminator.trainable_variables
        optimizers[1].apply(tape.gradient(d_loss, variables), variables)
        with tf.GradientTape() as tape:
            made = generator([noise[1], wanted[1]], training=True)
            score = discriminator([augment(made, seeds[2]), wanted[1]], training=False)
            g_loss = MODE_SEEKING * _sameness(made, noise[1]) - tf.reduce_mean(score)
        variables = generator.trainable_variables
        optimizers[0].apply(tape.gradient(g_loss, variables), variables)
        return g_loss, d_loss

    return step
