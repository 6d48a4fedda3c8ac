"""Haralick's texture measures of the haematoxylin as a layer of the exported graph.

`texture_definition` says what is computed, `features.haralick` is the reference. The layer takes
uint8 tiles and uses operations that LiteRT has, in float32, and that XNNPACK runs fast:

- Pairs of levels are counted by a product of matrices. A row holds, for each pixel, whether its
  level is at least `k`; the product of the rows of the pixels and of their neighbours counts the
  pairs of which the levels are at least `(k, l)`. The differences of these counts in both
  directions are the pairs of exactly `(k, l)`.
- "At least `k`" is computed by arithmetic, since LiteRT's comparisons are slow.
- The pixels are taken in strips, whose matrices fit the processor's cache.

Counts are exact in float32 up to 1.8 million pixels, because 36 times a count (`_YES` squared) is a
multiple of 4, and those are exact up to 2^26.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.networks.texture_definition import (
    ABSORBANCE_OFFSET,
    HAEMATOXYLIN,
    N_LEVELS,
    N_THRESHOLD_LEVELS,
    PREPARATIONS,
    STEPS,
    Preparation,
    offset_px,
)
from training.networks.texture_measures import measures_of

_PIXELS_PER_STRIP: Final = 12_544
"""A quarter of a tile of 224 px: four equal strips, whose matrices fit a cache of 2 MB."""
_MAX_STRIPS: Final = 64
"""More of them would make the graph large: a strip is eight operations."""
_STEEP: Final = 2.0**40
"""A power of two, so that scaling by it is exact."""
_YES: Final = 6.0
"""What stands for "at least": the upper end of relu6, which XNNPACK fuses into a subtraction."""
_N_DIGITS: Final = 16
"""A value of 0 to 255 is two digits to base 16, so that a product of matrices counts values."""
_OUTSIDE: Final = -1.0
"""The level of a pixel beyond the border: it is below every level."""


class Texture(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """The texture measures of each tile, in the order of `TABLE_COLUMNS`.

    Args:
        preparations: which of the table's preparations; their measures follow each other.
        offset: distance of the compared pixels along each axis, in pixels, below the tile's side;
            by default that of the table, scaled to the tile's height.
        layer: arguments of `keras.layers.Layer`, such as `name`.
    """

    def __init__(
        self,
        preparations: Sequence[Preparation] = PREPARATIONS,
        offset: int | None = None,
        **layer: Any,
    ) -> None:
        super().__init__(**layer)
        self.preparations = tuple(preparations)
        self.offset = offset

    def call(self, tiles: Any) -> Any:
        """Compute the measures.

        Args:
            tiles: uint8 `[B, H, W, 3]` RGB, with known H and W.

        Returns:
            float32 `[B, 52 * P]` for P preparations; finite, whatever the tiles show.
        """
        offset = self.offset or offset_px(tiles.shape[1])
        amounts = _haematoxylin_amounts(tiles)
        matrices = [
            _cooccurrences(_levels(amounts, preparation), offset)
            for preparation in self.preparations
        ]
        measures = measures_of(tf.stack(matrices, axis=1))  # [B, P, 4, 13]
        per_direction = tf.transpose(measures, [0, 1, 3, 2])
        return tf.reshape(per_direction, [-1, np.prod(per_direction.shape[1:])])

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, int]:
        """`[B, 52 * P]`."""
        return input_shape[0], len(self.preparations) * 52

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to build the layer again."""
        own = {"preparations": self.preparations, "offset": self.offset}
        config: dict[str, Any] = super().get_config() | own
        return config


def _haematoxylin_amounts(tiles: Any) -> Any:
    """`[B, H, W]` in [0, 1]."""
    logarithms = tf.math.log(tf.cast(tiles, tf.float32) * (1.0 / 255.0) + ABSORBANCE_OFFSET)
    weights = tf.constant(HAEMATOXYLIN, tf.float32, shape=(3, 1))
    light = tf.exp(tf.squeeze(tf.matmul(logarithms, weights), axis=-1)) - ABSORBANCE_OFFSET
    return 1.0 - tf.minimum(tf.maximum(light, 0.0), 1.0)


def _levels(amounts: Any, preparation: Preparation) -> Any:
    """The amounts scaled from the tile's own range to [0, 8], `[B, H, W]`, not yet rounded down."""
    scaled, greatest = _stretched(amounts)
    if preparation == "thresholded":
        values = scaled * (N_THRESHOLD_LEVELS - 1)
        threshold = _threshold(_histogram(values))[:, None, None]
        is_kept = tf.nn.relu6((values - threshold) * _STEEP) * (1.0 / _YES)
        scaled = amounts * is_kept / tf.maximum(greatest, np.finfo(np.float32).tiny)
    return scaled * N_LEVELS


def _stretched(amounts: Any) -> tuple[Any, Any]:
    """The tile's own range as [0, 1], `[B, H, W]`, and the greatest amount, `[B, 1, 1]`.

    A tile of one colour becomes 0.
    """
    least = tf.reduce_min(amounts, axis=(1, 2), keepdims=True)
    greatest = tf.reduce_max(amounts, axis=(1, 2), keepdims=True)
    range_ = tf.maximum(greatest - least, np.finfo(np.float32).tiny)
    return (amounts - least) / range_, greatest


def _cooccurrences(levels: Any, offset: int) -> Any:
    """Pairs of levels in each direction, `[B, 4, 8, 8]`, as a share of all pairs.

    Args:
        levels: `[B, H, W]` in [0, 8]; 8 counts as 7.
        offset: in pixels.
    """
    _, height, width = levels.shape
    margins = [[0, 0], [0, offset], [offset, offset]]
    padded = tf.pad(levels, margins, constant_values=_OUTSIDE)
    neighbours = [
        padded[:, down * offset :, (1 + right) * offset :][:, :height, :width]
        for down, right in STEPS.values()
    ]
    counts = _count_pairs(levels[:, None], tf.stack(neighbours, axis=1), N_LEVELS)
    counts = tf.transpose(tf.squeeze(counts, axis=1), [0, 2, 1, 3])
    n_pairs = [
        (height - down * offset) * (width - abs(right) * offset) for down, right in STEPS.values()
    ]
    return counts / tf.constant(n_pairs, tf.float32, shape=(len(STEPS), 1, 1))


def _histogram(values: Any) -> Any:
    """How many values `[B, H, W]` in [0, 255] round down to each integer: `[B, 256]`."""
    high = tf.floor(values * (1.0 / _N_DIGITS))
    low = values - high * _N_DIGITS
    counts = _count_pairs(high[:, None], low[:, None], _N_DIGITS)
    return tf.reshape(counts, [-1, N_THRESHOLD_LEVELS])


def _threshold(counts: Any) -> Any:
    """The maximum correlation threshold of each histogram `[B, 256]`: float32 `[B]`.

    Values are taken from -1 to 1, which changes no order and keeps the sums small.
    """
    values = tf.constant(np.linspace(-1, 1, N_THRESHOLD_LEVELS), tf.float32)
    n_pixels = tf.reduce_sum(counts, axis=1, keepdims=True)
    mean = tf.reduce_sum(counts * values, axis=1, keepdims=True) / n_pixels
    above = tf.constant(_SUM_ABOVE, tf.float32)
    n_above = tf.matmul(counts, above)
    sum_above = tf.matmul(counts * (values - mean), above)
    n_both = n_above * (n_pixels - n_above)
    between = sum_above * sum_above / tf.maximum(n_both, 1.0)
    return tf.cast(tf.argmax(between, axis=1, output_type=tf.int32), tf.float32)


_SUM_ABOVE: Final[NDArray[np.float32]] = np.tril(
    np.ones((N_THRESHOLD_LEVELS, N_THRESHOLD_LEVELS - 1), dtype=np.float32), -1
)
"""Multiplied by a histogram: for each k, the sum over the values above k."""


def _count_pairs(first: Any, second: Any, n: int) -> Any:
    """Count the pixels by the integers that two maps round down to.

    Args:
        first: `[B, F, H, W]`; values below 0 are not counted, those above n - 1 count as n - 1.
        second: `[B, S, H, W]`, likewise.
        n: number of integers, 0 to n - 1.

    Returns:
        `[B, F, n, S, n]` for each pair of maps and of integers.
    """
    n_pixels = int(first.shape[2] * first.shape[3])
    maps = [tf.reshape(one * _STEEP, [-1, one.shape[1], 1, n_pixels]) for one in (first, second)]
    # The greatest number below each integer, so that the difference is positive at the integer.
    below = np.nextafter(np.arange(n, dtype=np.float32), np.float32(_OUTSIDE))
    below[0] = _OUTSIDE / 2
    limits = tf.constant(below * _STEEP, shape=(n, 1))
    n_per_strip = max(_PIXELS_PER_STRIP, -(-n_pixels // _MAX_STRIPS))
    at_least = 0.0
    for left in range(0, n_pixels, n_per_strip):
        strip = slice(left, left + n_per_strip)
        reached = [tf.nn.relu6(one[..., strip] - limits) for one in maps]
        rows = [tf.reshape(one, [-1, one.shape[1] * n, one.shape[3]]) for one in reached]
        at_least += tf.matmul(*rows, transpose_b=True)
    counts = tf.reshape(at_least, [-1, first.shape[1], n, second.shape[1], n])
    for axis in (2, 4):
        next_ = counts[:, :, 1:] if axis == 2 else counts[..., 1:]
        margins = [[0, 1] if dimension == axis else [0, 0] for dimension in range(5)]
        counts = counts - tf.pad(next_, margins)
    return counts * (1.0 / _YES**2)
