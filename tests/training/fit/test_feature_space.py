from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.fit.feature_space import fit_head_space

RNG = np.random.default_rng(0)
TRAIN = np.arange(6)


def floats(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def logits_of(weights: list[NDArray[np.float32]], x: NDArray[np.float32]) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = np.maximum(x @ weights[0] + weights[1], 0) @ weights[2]
    return logits + weights[3]


def test_head_space_folds_into_the_first_layer() -> None:
    pooled = floats(10, 3, 8) * 5 + 2
    space = fit_head_space(pooled, TRAIN, 0.1)
    standardised = space.apply(pooled[TRAIN])
    np.testing.assert_allclose(standardised.mean(axis=(0, 1)), 0, atol=1e-5)
    assert (standardised.std(axis=(0, 1)) < 1).all()
    head = [floats(8, 4), floats(4), floats(4, 3), floats(3)]
    folded = logits_of(space.fold(head), pooled)
    np.testing.assert_allclose(folded, logits_of(head, space.apply(pooled)), atol=1e-3)


def test_head_space_changes_nothing_when_standardize_is_0() -> None:
    pooled = floats(10, 3, 8)
    space = fit_head_space(pooled, TRAIN, 0.0)
    assert space.apply(pooled) is pooled
    kernel = floats(8, 4)
    np.testing.assert_array_equal(space.fold([kernel, floats(4)])[0], kernel)


def test_head_space_depends_on_training_tiles_only() -> None:
    pooled = floats(10, 3, 8)
    one = fit_head_space(pooled, TRAIN, 0.1)
    pooled[6:] = 99
    other = fit_head_space(pooled, TRAIN, 0.1)
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.scale, other.scale)
