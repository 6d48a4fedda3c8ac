"""Several heads as one: the mean of their logits is a wider head of the same two layers.

K heads fitted from different seeds disagree on the tiles that no head is sure of; their mean is
steadier than any of them. Hidden units side by side, output weights stacked and divided by K, is
exactly that mean, so the exported graph, Grad-CAM in closed form and the cost stay those of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SEED_STEP: Final = 10_000
"""Seeds of runs are small numbers, so that no head of one run is a head of another."""


def seed_of_head(seed: int, number: int) -> int:
    """Seed of a run's head; the first head has the run's own."""
    return seed + _SEED_STEP * number


def join_heads(heads: Sequence[Sequence[NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
    """The head whose logits are the mean of the logits of several.

    Args:
        heads: of each, kernel `[d, H]` and bias `[H]` of the hidden layer, kernel `[H, C]` and bias
            `[C]` of the logits; float32.

    Returns:
        The same four arrays, of H times as many hidden units as there are heads.
    """
    kernels, biases, logit_kernels, logit_biases = zip(*heads, strict=True)
    share = np.float32(1 / len(heads))
    return [
        np.concatenate(kernels, axis=1),
        np.concatenate(biases),
        np.concatenate(logit_kernels) * share,
        np.sum(logit_biases, axis=0) * share,
    ]
