"""Logits of the parts that candidates average, each fitted once for a set of training tiles."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.experiments.nested.config import Candidate
from training.features.prepare import PreparedFeatures
from training.features.supplements import Supplements
from training.fit.classifier import fit_classifier
from training.fit.logistic_parts import fit_layer, fit_texture

Logits = NDArray[np.float64]


@dataclass(slots=True)
class Parts:
    """Fits parts for one training seed.

    Attributes:
        features: of the base, with all layers, thumbnails and texture.
        config: the base.
        today: features and configuration of today's recipe; None if it is no candidate.
    """

    features: PreparedFeatures
    config: TrainingConfig
    today: tuple[PreparedFeatures, TrainingConfig] | None
    _known: dict[tuple[Any, ...], Logits] = field(default_factory=dict)

    def logits(self, candidate: Candidate | None, train: NDArray[np.int64]) -> Logits:
        """Logits of every tile, then every thumbnail, by a recipe fitted on some tiles.

        Args:
            candidate: the recipe; None stands for today's, whose thumbnails have no answer (NaN).
            train: positions of tiles of the index, int64 `[n_train]`.

        Returns:
            float64 `[n_real + n_thumbnails, C]`.
        """
        if candidate is None:
            return self._part(("today",), train)
        names = self.config.network.backbone.layers
        parts = [
            self._part((names.index(layer), candidate.penalty_c, candidate.has_thumbnails), train)
            for layer in candidate.layers
        ]
        weights = [1.0] * len(parts)
        if candidate.texture_weight > 0:
            parts.append(self._part(("texture",), train))
            weights.append(candidate.texture_weight)
        return np.average(parts, axis=0, weights=weights)

    def forget(self) -> None:
        """Free the logits, when a new set of training tiles follows."""
        self._known.clear()

    def _part(self, part: tuple[Any, ...], train: NDArray[np.int64]) -> Logits:
        key = (*part, train.tobytes())
        if key not in self._known:
            self._known[key] = self._fit(part, train)
        return self._known[key]

    def _fit(self, part: tuple[Any, ...], train: NDArray[np.int64]) -> Logits:
        if part == ("today",):
            return self._fit_today(train)
        features, config = self.features, self.config
        if part == ("texture",):
            texture = features.texture
            return fit_texture(features, config, train)(np.asarray(texture))
        layer, penalty_c, has_thumbnails = part
        network = config.network.model_copy(update={"penalty_c": penalty_c})
        config = config.model_copy(update={"network": network})
        taught = features.taught_by(train) if has_thumbnails else train
        start = sum(features.layer_sizes[:layer])
        pooled = features.pooled[..., start : start + features.layer_sizes[layer]]
        n_views = features.pooled.shape[1] if has_thumbnails else config.augment.n_full
        alone = replace(
            features, pooled=pooled[:, :n_views], layer_sizes=(features.layer_sizes[layer],)
        )
        return fit_layer(alone, config, taught, 0)(pooled[:, 0])

    def _fit_today(self, train: NDArray[np.int64]) -> Logits:
        features, config = self.today or (self.features, self.config)
        everything = np.arange(features.n_real)
        fitted = fit_classifier(features, config, train, everything, config.seed)
        n_thumbnails = n_thumbnails_of(self.features.supplements)
        absent = np.full((n_thumbnails, fitted.test_logits.shape[1]), np.nan)
        return np.concatenate([fitted.test_logits.astype(float), absent])


def n_thumbnails_of(supplements: Supplements) -> int:
    """Number of thumbnails."""
    return len(supplements.thumbnails) if supplements.thumbnails else 0
