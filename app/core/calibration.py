"""Convert logits to probabilities, and measure their uncertainty, in training and serving alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.core.errors import InferenceError


def probabilities_from_logits(logits: ArrayLike, temperature: float) -> NDArray[np.float32]:
    """Softmax of temperature-scaled logits (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: `[B, C]` of any float type.
        temperature: above 0. 1 changes nothing; a larger one makes probabilities less extreme.

    Returns:
        float32 `[B, C]` in [0, 1]; rows sum to 1.

    Raises:
        InferenceError: a logit is NaN or infinite.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if not np.isfinite(scaled).all():
        raise InferenceError("The model returned a logit that is not a finite number.")
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities.astype(np.float32)


def predictive_entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Entropy of predicted distributions, in nats.

    Args:
        probabilities: float32 `[..., C]`.

    Returns:
        float64 `[...]`, from 0 (certain) to ln C.
    """
    values = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-12, 1.0)
    entropy: NDArray[np.float64] = -(values * np.log(values)).sum(axis=-1)
    return entropy
