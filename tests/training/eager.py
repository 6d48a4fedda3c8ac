"""Fits of a few steps whose functions are run without compiling them, which takes seconds.

The compiled functions are tested in `fit/test_classifier.py` and `networks/test_registry.py`, and
those of the GAN in `gan/test_trainer.py` by `make test-exhaustive`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def run_eagerly() -> Iterator[None]:
    """Run the functions of TensorFlow one operation after the other, in this process."""
    import tensorflow

    tensorflow.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tensorflow.config.run_functions_eagerly(False)
