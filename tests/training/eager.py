"""Fits of a few steps whose functions are run without compiling them, which takes seconds.

`make test` compiles them in the tests of `fit/` that learn or measure and in `test_distributed.py`,
and `make test-exhaustive` in all tests with the fixture `both_ways`.
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
