"""The parts of a recipe that are plain arithmetic: sampling, feature space, heads, mixing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.augmentation.mixup import mix_style, mixup
from training.config import Balance, NetworkConfig
from training.fit.feature_space import fit_head_space
from training.fit.sampling import Groups, all_views, balanced, some_views
from training.networks.head_ensemble import join_heads, seed_of_head

RNG = np.random.default_rng(0)
CLASSES = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
GROUPS = Groups(
    slides=np.array([0, 0, 0, 0, 1, 2, 2, 3, 3, 4]), cases=np.array([0, 0, 0, 0, 0, 1, 1, 2, 2, 2])
)
TILES = np.arange(10)


def floats(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("balance", "group_of"),
    [
        ("label", CLASSES),
        ("slide", GROUPS.slides),
        ("case", GROUPS.cases),
        ("case_and_label", GROUPS.cases * 3 + CLASSES),
    ],
)
def test_balanced_shows_every_group_equally_often(
    balance: Balance, group_of: NDArray[np.int64]
) -> None:
    pairs = balanced(all_views(400), balance, CLASSES, GROUPS)(TILES, np.random.default_rng(1))
    assert pairs.shape == (4000, 2)
    shown = np.bincount(group_of[pairs[:, 0]])
    shown = shown[shown > 0]
    expected = 4000 / len(np.unique(group_of))
    assert (np.abs(shown - expected) < 6 * np.sqrt(expected)).all()


def test_balanced_shows_training_tiles_only() -> None:
    chosen = balanced(some_views(5, 2), "case_and_label", CLASSES, GROUPS)
    pairs = chosen(np.array([1, 6, 9]), np.random.default_rng(1))
    assert pairs.shape == (9, 2)
    assert set(pairs[:, 0]) <= {1, 6, 9}


def test_balanced_is_no_other_function_when_nothing_is_balanced() -> None:
    views = all_views(3)
    assert balanced(views, "none", CLASSES, None) is views


def logits_of(weights: list[NDArray[np.float32]], x: NDArray[np.float32]) -> NDArray[np.float32]:
    answer: NDArray[np.float32] = np.maximum(x @ weights[0] + weights[1], 0) @ weights[2]
    return answer + weights[3]


def test_join_heads_is_the_mean_of_their_logits() -> None:
    heads = [[floats(6, 4), floats(4), floats(4, 3), floats(3)] for _ in range(3)]
    x = floats(7, 6)
    joined = join_heads(heads)
    assert joined[0].shape == (6, 12)
    np.testing.assert_allclose(
        logits_of(joined, x), np.mean([logits_of(head, x) for head in heads], axis=0), atol=1e-5
    )
    assert all(a is b or (a == b).all() for a, b in zip(join_heads(heads[:1]), heads[0]))  # noqa: B905
    assert seed_of_head(3, 0) == 3


@pytest.mark.parametrize(
    "network", [NetworkConfig(standardize=0.2, case_directions=2), NetworkConfig(standardize=0.1)]
)
def test_feature_space_folds_into_the_first_layer(network: NetworkConfig) -> None:
    pooled = floats(10, 3, 8) * 5 + 2
    space = fit_head_space(pooled, CLASSES, GROUPS, TILES[:8], network)
    head = [floats(8, 4), floats(4), floats(4, 3), floats(3)]
    folded = logits_of(space.fold(head), pooled)
    np.testing.assert_allclose(folded, logits_of(head, space.apply(pooled)), atol=1e-3)


def test_feature_space_is_as_it_was_when_nothing_is_asked_for() -> None:
    pooled = floats(10, 3, 8)
    space = fit_head_space(pooled, CLASSES, None, TILES, NetworkConfig())
    np.testing.assert_array_equal(space.apply(pooled), pooled)
    kernel = floats(8, 4)
    np.testing.assert_array_equal(space.fold([kernel, floats(4)])[0], kernel)


def test_feature_space_looks_at_training_tiles_only() -> None:
    pooled = floats(10, 3, 8)
    network = NetworkConfig(standardize=0.1, case_directions=1)
    one = fit_head_space(pooled, CLASSES, GROUPS, TILES[:6], network)
    pooled[6:] = 99
    other = fit_head_space(pooled, CLASSES, GROUPS, TILES[:6], network)
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.directions, other.directions)


def test_feature_space_takes_out_what_tells_cases_apart() -> None:
    """Cases differ along the first axis, labels along the second; only the first is taken out."""
    cases, classes = np.repeat([0, 1], 10), np.tile([0, 1], 10)
    pooled = 0.01 * floats(20, 1, 5)
    pooled[:, 0, 0] += 3 * cases
    pooled[:, 0, 1] += classes
    groups = Groups(slides=cases, cases=cases)
    network = NetworkConfig(case_directions=1)
    left = fit_head_space(pooled, classes, groups, np.arange(20), network).apply(pooled)[:, 0]
    assert np.abs(left[cases == 1].mean(axis=0) - left[cases == 0].mean(axis=0)).max() < 0.05
    assert left[classes == 1, 1].mean() - left[classes == 0, 1].mean() > 0.9


def test_mixup_mixes_features_and_labels_by_the_same_share() -> None:
    features, targets = np.eye(6, dtype=np.float32), np.eye(6, dtype=np.float32)
    mixed, labels = mixup(features, targets, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed, labels)
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert ((labels > 0) & (labels < 1)).any()


def test_mix_style_moves_channel_statistics_within_the_batch_and_keeps_the_pattern() -> None:
    features = floats(4, 5, 5, 2) * np.array([1, 2, 3, 4], np.float32).reshape(4, 1, 1, 1)
    mixed = mix_style(features, 0.3, np.random.default_rng(0))
    before, after = features.std(axis=(1, 2)), mixed.std(axis=(1, 2))
    assert np.abs(before - after).max() > 0.1
    assert (after <= before.max(axis=0) + 1e-4).all()
    assert (after >= before.min(axis=0) - 1e-4).all()
    for tile in range(4):
        one, other = features[tile, ..., 0].ravel(), mixed[tile, ..., 0].ravel()
        assert np.corrcoef(one, other)[0, 1] > 0.999
