"""Differentiable augmentation (Zhao et al. 2020, arXiv:2006.10738) for a GAN on few tiles.

Real and generated tiles are transformed alike before the discriminator sees them, and gradients
pass through. So the discriminator cannot memorise the few real tiles, and the generator does not
learn to generate transformed ones. As in that paper, the transforms are brightness, saturation,
contrast, translation by up to an eighth, and a square cut-out of half the side.
"""

from __future__ import annotations

from typing import Any, Final

TRANSLATION: Final = 1 / 8
CUTOUT: Final = 1 / 2


def augment(tiles: Any, seed: Any) -> Any:
    """Transform every tile at random.

    Args:
        tiles: float32 `[B, side, side, 3]` in [-1, 1], a TensorFlow tensor.
        seed: int32 `[2]`; the same seed draws the same transforms.

    Returns:
        float32 of the same shape; zero (grey) outside the moved tile and in the cut-out.
    """
    import tensorflow as tf

    n, side = tf.shape(tiles)[0], tiles.shape[1]
    drawn = tf.random.stateless_uniform([7, n, 1, 1, 1], seed)
    tiles = tiles + (drawn[0] - 0.5)
    grey = tf.reduce_mean(tiles, axis=3, keepdims=True)
    tiles = (tiles - grey) * (2.0 * drawn[1]) + grey
    mean = tf.reduce_mean(tiles, axis=[1, 2, 3], keepdims=True)
    tiles = (tiles - mean) * (drawn[2] + 0.5) + mean
    reach = int(side * TRANSLATION + 0.5)
    tiles = _shifted(tiles, _whole(drawn[3], -reach, reach), axis=1)
    tiles = _shifted(tiles, _whole(drawn[4], -reach, reach), axis=2)
    half = int(side * CUTOUT) // 2
    rows = tf.abs(tf.range(side)[None, :, None, None] - _whole(drawn[5], 0, side)) < half
    columns = tf.abs(tf.range(side)[None, None, :, None] - _whole(drawn[6], 0, side)) < half
    return tiles * (1.0 - tf.cast(rows & columns, tiles.dtype))


def _whole(drawn: Any, low: int, high: int) -> Any:
    """Integers from `low` to `high`, both included, from uniform numbers in [0, 1)."""
    import tensorflow as tf

    return tf.cast(tf.floor(drawn * (high - low + 1)), tf.int32) + low


def _shifted(tiles: Any, shifts: Any, axis: int) -> Any:
    """Move each tile along an axis by its own number of pixels."""
    import tensorflow as tf

    side = tiles.shape[axis]
    padding = [[0, 0], [0, 0], [0, 0], [0, 0]]
    padding[axis] = [1, 1]
    padded = tf.pad(tiles, padding)  # indices beyond an edge are clipped to this zero
    taken = tf.range(side)[None, :] - shifts[:, 0, 0, :] + 1
    return tf.gather(padded, tf.clip_by_value(taken, 0, side + 1), axis=axis, batch_dims=1)
