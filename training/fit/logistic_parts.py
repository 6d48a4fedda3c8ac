"""The parts of a logistic head: one regression for each pooled layer, and one of texture.

The parts do not depend on each other, so an experiment that compares sets of parts fits each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.errors import RunError
from training.features.prepare import PreparedFeatures
from training.features.texture_rows import TextureRows
from training.fit.sampling import all_views, weigh_views, without_enlarged
from training.networks.logistic_head import LinearMap, average_maps, fit_logistic


def fit_parts(
    features: PreparedFeatures, config: TrainingConfig, train: NDArray[np.int64]
) -> list[LinearMap]:
    """Fit every part of the configured head: the layers in order, then texture.

    Args:
        features: features of all tiles.
        config: the run's configuration.
        train: positions of the training tiles and thumbnails, int64 `[n_train]`.

    Raises:
        RunError: the training tiles, or the rows of the feature table that may teach this fold,
            have a single label.
    """
    if len(np.unique(features.class_indices[train])) < 2:
        raise RunError(
            "A logistic head needs training tiles of two labels, and a fold has only one. Set "
            "network.head to 'dense', or make other splits."
        )
    parts = [fit_layer(features, config, train, i) for i in range(len(features.layer_sizes))]
    if config.network.texture_weight > 0:
        parts.append(fit_texture(features, config, train))
    return parts


def combine_parts(parts: Sequence[LinearMap], texture_weight: float) -> LinearMap:
    """Average the parts; with a texture weight above 0, the last one is texture."""
    weights = [1.0] * len(parts)
    if texture_weight > 0:
        weights[-1] = texture_weight
    return average_maps(parts, weights)


def fit_layer(
    features: PreparedFeatures, config: TrainingConfig, train: NDArray[np.int64], layer: int
) -> LinearMap:
    """Fit the regression on one pooled layer, on all views of the training tiles."""
    n_full = config.augment.n_full
    choose = without_enlarged(all_views(features.pooled.shape[1]), features.first_thumbnail, n_full)
    pairs = choose(train, np.random.default_rng(0))
    weights = weigh_views(
        pairs, n_full, config.sampling.balance, features.class_indices, features.groups
    )
    tiles, views = pairs.T
    start, end = list(pairwise(accumulate(features.layer_sizes, initial=0)))[layer]
    return fit_logistic(
        features.pooled[tiles, views, start:end],
        features.class_indices[tiles],
        weights,
        len(config.labels),
        config.network.penalty_c,
    )


def fit_texture(
    features: PreparedFeatures, config: TrainingConfig, train: NDArray[np.int64]
) -> LinearMap:
    """Fit texture on rows of the feature table: one regression for each preparation, averaged.

    A label that the rows of one preparation lack is left to the other. Every label counts equally.
    The measures of the training tiles' own pixels are not used: they are those of their rows, but
    for the resolution.

    Raises:
        RunError: the rows that may teach this fold have a single label.
    """
    rows, places = features.supplements.texture_rows, features.supplements.places
    if rows is None or places is None:
        raise RunError("There is no feature table to learn texture from.")
    is_real = train < features.n_real
    allowed = rows.places.may_teach(places, train[is_real])
    maps = [
        _fit_rows(rows, allowed & (rows.is_thresholded == is_thresholded), config)
        for is_thresholded in (False, True)
    ]
    return average_maps(maps, [1.0, 1.0])


def _fit_rows(rows: TextureRows, chosen: NDArray[np.bool_], config: TrainingConfig) -> LinearMap:
    classes = rows.class_indices[chosen]
    if len(np.unique(classes)) < 2:
        raise RunError(
            "The feature table has no rows of two labels for a fold, outside the slides and cases "
            "that the fold tests. Set network.texture_weight to 0."
        )
    counts = np.bincount(classes, minlength=len(config.labels))
    weights = len(classes) / (np.count_nonzero(counts) * counts[classes])
    return fit_logistic(
        rows.values[chosen], classes, weights, len(config.labels), config.network.texture_penalty_c
    )
