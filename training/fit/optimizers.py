"""Keras optimizers without the memory leak of their compiled steps."""

from __future__ import annotations

from typing import Any


def without_leak(optimizer: Any) -> Any:
    """Let the compiled steps of an optimizer be freed with their last reference.

    Keras sums the gradients of all replicas even if there is only one. TensorFlow wraps the sum in
    a custom gradient and registers it under a new name until the process ends; the name holds the
    step's whole graph. Every compiled step therefore stayed in memory: 2.6 to 3.6 MB a fit.

    Args:
        optimizer: a Keras optimizer; returned unchanged if several replicas train together.
    """
    import tensorflow

    if not tensorflow.distribute.has_strategy():
        optimizer._all_reduce_sum_gradients = lambda gradients: gradients
    return optimizer
