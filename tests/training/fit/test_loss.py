from __future__ import annotations

import numpy as np
import pytest

from training.fit.loss import cross_entropy

pytestmark = pytest.mark.tensorflow

LOGITS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
TARGETS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_cross_entropy_equals_keras_own(label_smoothing: float) -> None:
    import keras

    expected = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=label_smoothing
    )
    ours = float(cross_entropy(TARGETS, LOGITS, label_smoothing))
    assert ours == pytest.approx(float(expected(TARGETS, LOGITS)), abs=1e-6)
