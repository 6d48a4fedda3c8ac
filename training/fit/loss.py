"""The loss of every phase."""

from __future__ import annotations

from typing import Any


def cross_entropy(targets: Any, logits: Any, label_smoothing: float) -> Any:
    """Mean cross-entropy of a batch in nats, a scalar tensor.

    Args:
        targets: float32 `[B, C]`, rows sum to 1.
        logits: float32 `[B, C]`.
        label_smoothing: share of each target that is spread over all labels.
    """
    from keras import ops

    targets = targets * (1.0 - label_smoothing) + label_smoothing / targets.shape[-1]
    return ops.mean(-ops.sum(targets * ops.log_softmax(logits, axis=-1), axis=-1))
