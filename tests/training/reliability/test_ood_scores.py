from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.features.reference_tiles import MAX_REFERENCE_TILES, choose_reference
from training.reliability.ood_scores import METHODS, compare_distances, mahalanobis_distance


def around(direction: int, n_tiles: int, seed: int, spread: float = 0.02) -> NDArray[np.float32]:
    """A cluster of embeddings, float32 `[n_tiles, 16]`, along an axis, of different lengths."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(0, spread, (n_tiles, 16)) + np.eye(16)[direction]
    lengths = rng.uniform(0.5, 2, (n_tiles, 1))
    embeddings: NDArray[np.float32] = (vectors * lengths).astype(np.float32)
    return embeddings


def test_choose_reference_takes_all_of_few_tiles() -> None:
    embeddings = around(0, MAX_REFERENCE_TILES, 0)
    assert choose_reference(embeddings).distances(embeddings).max() < 0.01


def test_choose_reference_is_bounded_and_covers_rare_clusters(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rare = around(5, 4, 1)
    reference = choose_reference(np.concatenate([around(0, 600, 0), rare]))
    path = tmp_path_factory.mktemp("reference") / "reference.npz"
    reference.write(path)
    (directions,) = np.load(path).values()
    assert directions.shape == (MAX_REFERENCE_TILES, 16)
    assert reference.distances(rare).max() < 0.05
    assert reference.distances(around(9, 4, 2)).min() > 0.5, "unlike all training tiles"


def test_choose_reference_takes_the_tiles_farthest_apart() -> None:
    # Every direction occurs three times; one of each must be chosen before a second of any.
    axes = np.eye(MAX_REFERENCE_TILES, dtype=np.float32)
    reference = choose_reference(np.repeat(axes, 3, axis=0))
    nearest = reference.distances(axes)
    np.testing.assert_allclose(nearest, 2 / 3, atol=1e-6)  # one of three neighbours is the axis


def test_choose_reference_accepts_embeddings_of_length_zero() -> None:
    embeddings = np.concatenate([np.zeros((2, 16), np.float32), around(0, 300, 0), around(3, 9, 1)])
    reference = choose_reference(embeddings)
    assert reference.distances(around(3, 4, 2)).max() < 0.05


def test_mahalanobis_distance_equals_the_direct_formula() -> None:
    rng = np.random.default_rng(0)
    training = rng.normal(0, [1, 2, 0.5, 1], (30, 4)).astype(np.float32)
    asked = rng.normal(0, 3, (5, 4)).astype(np.float32)
    offset = asked - training.mean(axis=0)
    covariance = np.cov(training.T, bias=True)
    shrunk = 0.8 * covariance + 0.2 * np.trace(covariance) / 4 * np.eye(4)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", offset, np.linalg.inv(shrunk), offset))
    np.testing.assert_allclose(mahalanobis_distance(training)(asked), expected, rtol=1e-4)


def test_mahalanobis_distance_equals_the_direct_formula_with_fewer_tiles_than_dimensions() -> None:
    rng = np.random.default_rng(1)
    training = rng.normal(0, 1, (4, 7)).astype(np.float32)
    asked = rng.normal(0, 3, (5, 7)).astype(np.float32)
    offset = asked - training.mean(axis=0)
    covariance = np.cov(training.T, bias=True)
    shrunk = 0.8 * covariance + 0.2 * np.trace(covariance) / 7 * np.eye(7)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", offset, np.linalg.inv(shrunk), offset))
    np.testing.assert_allclose(mahalanobis_distance(training)(asked), expected, rtol=1e-4)


def test_compare_distances_separates_a_far_cluster_but_not_a_near_one() -> None:
    training = around(0, 40, 0)
    slides = np.array([f"slide {i % 4}" for i in range(40)])
    compared = compare_distances(
        training, slides, {"far": around(7, 10, 1), "near": training[:10] * 0.99}
    )
    assert set(compared) == set(METHODS)
    for shares in compared.values():
        assert shares == {"far": 1.0, "near": 0.0}
