from __future__ import annotations

import numpy as np
import pytest

from training.fit.loss import cross_entropy

pytestmark = pytest.mark.tensorflow

LOGITS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
TARGETS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
P = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def test_cross_entropy_is_keras_own_with_equal_weights() -> None:
    import keras

    expected = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    ours = float(cross_entropy(TARGETS, LOGITS, 0.1, 1.0))
    assert ours == pytest.approx(float(expected(TARGETS, LOGITS)), abs=1e-6)


def test_cross_entropy_adds_tumour_or_not_as_often_as_told() -> None:
    tumor = P[:, 1:].sum(axis=1)
    binary = -np.where(TARGETS[:, 0] == 1, np.log(1 - tumor), np.log(tumor)).mean()
    plain = float(cross_entropy(TARGETS, LOGITS, 0.0, 1.0))
    assert float(cross_entropy(TARGETS, LOGITS, 0.0, 3.0)) == pytest.approx(
        plain + 2 * binary, abs=1e-5
    )
