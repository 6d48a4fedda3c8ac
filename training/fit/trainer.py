"""Fit a classifier on the training tiles of one fold, in two phases, on cached features.

1. Head: the base network is frozen, so its pooled features are constants and an epoch takes
   milliseconds. (A support vector machine takes the place of the epochs where the system has one;
   a system without public weights trains base and head together from the pixels instead.)
2. Fine-tune (optional): the last blocks and the head go on together at a low rate, from the cached
   output of the layers below. Batch normalisation stays in inference mode.

Both phases may end with the running average of the weights instead of the last step's (Polyak &
Juditsky 1992), so that one unlucky epoch does not decide and no tile is spent on early stopping.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.data.labels import LABELS
from training.data.synthetic import SyntheticTiles
from training.data.tiles import Tiles
from training.errors import RunError
from training.features.cache import FeatureCache
from training.features.extract import cache_features, draw_all, pool_features
from training.fit.feature_space import fit_head_space
from training.fit.history import EpochRecord, mean_record
from training.fit.oversampling import oversample
from training.fit.phase import Phase
from training.fit.sampling import Groups, ViewPositions, all_views, balanced, some_views
from training.networks.graphs import (
    SplitBackbone,
    Weights,
    build_backbone,
    build_head,
    build_pooled,
    build_tuned,
    build_whole,
    split_backbone,
)
from training.networks.head_ensemble import join_heads, seed_of_head
from training.networks.svm_head import fit_svm
from training.runs.resume import NOTHING_KEPT, Work


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted classifier.

    Attributes:
        base_weights, head_weights: what `build_serving_model` takes.
        test_logits: float32 `[n_test, C]` of the original test tiles, in the order given.
        history: one record an epoch, both phases in a row.
    """

    base_weights: Weights
    head_weights: Weights
    test_logits: NDArray[np.float32]
    history: tuple[EpochRecord, ...]


class Trainer:
    """The network and the cached features of all tiles; fits any subset of them."""

    def __init__(
        self,
        tiles: Tiles,
        class_indices: NDArray[np.int64],
        config: TrainingConfig,
        groups: Groups | None = None,
        sources: Tiles | None = None,
        synthetic: SyntheticTiles | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        """Build the network and run its frozen part once.

        Args:
            tiles: of the side that the network takes; none is read before the network is built.
            class_indices: int64 `[n]`, positions in `LABELS`.
            config: the run's configuration.
            groups: slides and cases of the tiles, which balanced sampling and `case_directions`
                need.
            sources: the tiles at `augment.crop_source_px`, for crops; see `open_sources`.
            synthetic: what `gan.proportion` asks for; see `training.gan.supply`.
            cache: where features are kept for the next command.

        Raises:
            WeightsError: the base network's weights are missing or belong to another network.
            RunError: the configuration needs groups or synthetic tiles, and there are none.
        """
        import keras

        _require_groups(groups, config)
        self._n_real = len(tiles)
        self._synthetic = _require_synthetic(synthetic, len(tiles), config)
        if self._synthetic is not None:
            appended = self._synthetic.appended_to(tiles, class_indices, groups)
            tiles, class_indices, groups = appended
            if cache is not None:
                cache = replace(cache, tiles=(*cache.tiles, *self._synthetic.sha256s))
        self._config = config
        self._groups = groups
        self._system = config.network.entry
        self._class_indices = class_indices
        self._targets = np.eye(len(LABELS), dtype=np.float32)[class_indices]
        self._pooled: NDArray[Any]
        if not self._system.is_pretrained:
            self._pooled = draw_all(tiles, config.augment, config.seed, sources)
            return
        keras.utils.set_random_seed(config.seed)  # of an untrained base
        self._base = build_backbone(
            config.network.weights, self._system, config.network.input_side_px
        )
        views = config.augment, config.seed, self._system.scaling, sources
        if config.fine_tune.epochs == 0:
            kept = cache.open(config.network, config.seed, "pooled") if cache else None
            self._pooled = cache_features(build_pooled(self._base), tiles, *views, kept)
            return
        seam = config.fine_tune.first_layer or self._system.seam or ""
        self._network: SplitBackbone = split_backbone(self._base, seam)
        self._start_weights: Weights = self._network.trainable.get_weights()
        kept = cache.open(config.network, config.seed, seam) if cache else None
        self._seam = cache_features(self._network.frozen, tiles, *views, kept)
        self._pooled = pool_features(self._network.trainable, self._seam)

    def fit(
        self,
        train: NDArray[np.int64],
        test: NDArray[np.int64],
        seed: int,
        work: Work = NOTHING_KEPT,
    ) -> Fitted:
        """Fit on some tiles, answer for others.

        Args:
            train: positions of the training tiles, int64 `[n_train]`.
            test: positions of the test tiles, int64 `[n_test]`; may be empty.
            seed: of initial weights, dropout and order; the same seed gives the same weights.
            work: of this fit: what it holds is gone on with, and more is kept in it.
        """
        import keras

        keras.utils.set_random_seed(seed)
        if self._synthetic is not None:
            train = self._synthetic.added_to(train, test)
        if self._system.head == "svm":
            return self._fit_machine(train, test, seed)
        if not self._system.is_pretrained:
            return self._fit_from_scratch(train, test, seed, work)
        config = self._config
        if config.fine_tune.epochs > 0:
            self._network.trainable.set_weights(self._start_weights)
        rng = np.random.default_rng(seed)
        head, history = self._fit_heads(train, test, rng, seed, work)
        phase = Phase("head", head, config.head, self._pooled, self._targets)
        if config.fine_tune.epochs > 0:
            tuned = build_tuned(self._network.trainable, head)
            views = some_views(self._seam.shape[1], config.fine_tune.views_per_epoch)
            phase = Phase("fine_tune", tuned, config.fine_tune, self._seam, self._targets)
            history += phase.run(train, test, self._balanced(views), rng, work)
        return Fitted(
            base_weights=self._base.get_weights(),
            head_weights=head.get_weights(),
            test_logits=phase.answer(test),
            history=tuple(history),
        )

    def _fit_heads(
        self,
        train: NDArray[np.int64],
        test: NDArray[np.int64],
        rng: np.random.Generator,
        seed: int,
        work: Work,
    ) -> tuple[Any, list[EpochRecord]]:
        """The head on pooled features as they come, and its records: of several heads the mean."""
        network = self._config.network
        space = fit_head_space(self._pooled, self._class_indices, self._groups, train, network)
        features = space.apply(self._pooled)
        heads, runs = [], []
        for number in range(network.n_heads):
            head = self._build_head(seed_of_head(seed, number))
            title = f"head_{number}"
            phase = Phase("head", head, self._config.head, features, self._targets, title)
            runs.append(list(phase.run(train, test, self._views_of(features), rng, work)))
            heads.append(space.fold(head.get_weights()))
        if network.n_heads > 1:
            head = self._build_head(seed, network.n_heads * network.hidden_units)
        head.set_weights(join_heads(heads))
        return head, [mean_record(records) for records in zip(*runs, strict=True)]

    def embeddings(self) -> NDArray[np.float32] | None:
        """Embeddings of the original, real tiles by the network of the latest fit.

        Returns:
            float32 `[n, E]`, of training and test tiles alike; None of a system that is trained
            from scratch, whose features are not kept.
        """
        if not self._system.is_pretrained:
            return None
        if self._config.fine_tune.epochs == 0:
            return self._pooled[: self._n_real, 0]
        return pool_features(self._network.trainable, self._seam[: self._n_real, :1])[:, 0]

    def _fit_from_scratch(
        self, train: NDArray[np.int64], test: NDArray[np.int64], seed: int, work: Work
    ) -> Fitted:
        """Base and head together from random weights, all of them trained."""
        config, system = self._config, self._system
        base = build_backbone(config.network.weights, system, config.network.input_side_px)
        head = self._build_head(seed)
        phase = Phase(
            "whole", build_whole(base, head, system), config.head, self._pooled, self._targets
        )
        rng = np.random.default_rng(seed)
        history = tuple(phase.run(train, test, self._views_of(self._pooled), rng, work))
        return Fitted(base.get_weights(), head.get_weights(), phase.answer(test), history)

    def _fit_machine(self, train: NDArray[np.int64], test: NDArray[np.int64], seed: int) -> Fitted:
        """A support vector machine on all views; there are no epochs, so one record says it all."""
        tiles, shown = self._views_of(self._pooled)(train, np.random.default_rng(seed)).T
        weights = fit_svm(self._pooled[tiles, shown], self._class_indices[tiles], len(LABELS), seed)
        head = self._build_head(seed, hidden_units=weights[0].shape[1])
        head.set_weights(weights)
        phase = Phase("head", head, self._config.head, self._pooled, self._targets)
        record = phase.measure(train, test)
        return Fitted(self._base.get_weights(), weights, phase.answer(test), (record,))

    def _build_head(self, seed: int, hidden_units: int | None = None) -> Any:
        network = self._config.network
        units = hidden_units or network.hidden_units
        return build_head(units, network.dropout, seed, self._system.embedding_size)

    def _views_of(self, features: NDArray[Any]) -> ViewPositions:
        choose = all_views(features.shape[1])
        if not self._system.oversamples:
            return self._balanced(choose)
        return lambda tiles, rng: choose(oversample(tiles, self._class_indices[tiles], rng), rng)

    def _balanced(self, views: ViewPositions) -> ViewPositions:
        return balanced(views, self._config.sampling.balance, self._class_indices, self._groups)

    def reconfigured(self, config: TrainingConfig) -> Trainer:
        """A trainer with another configuration and the same cached features.

        Raises:
            RunError: the features would be others; `features_key` says which settings decide.
        """
        if features_key(config) != features_key(self._config):
            raise RunError("These configurations have different features; make another Trainer.")
        _require_groups(self._groups, config)
        other = copy.copy(self)
        other._config = config
        return other


def features_key(config: TrainingConfig) -> str:
    """What decides the cached features; configurations with the same key can share them."""
    network, tune = config.network, config.fine_tune
    seam = tune.first_layer if tune.epochs > 0 else "pooled"
    network_key = f"{network.system} {network.input_side_px} {network.weights} {seam}"
    views = f"{config.augment.model_dump_json()} {config.gan.model_dump_json()}"
    return f"{network_key} {config.seed} {views}"


def _require_synthetic(
    synthetic: SyntheticTiles | None, n_real: int, config: TrainingConfig
) -> SyntheticTiles | None:
    if config.gan.proportion == 0:
        return None
    if synthetic is None or synthetic.n_real != n_real:
        raise RunError(
            "gan.proportion asks for synthetic tiles, which this command cannot add. Set it to 0, "
            "or use 'osteo-train fit'."
        )
    return synthetic


def _require_groups(groups: Groups | None, config: TrainingConfig) -> None:
    by_label_only = config.sampling.balance in ("none", "label")
    if groups is None and not (by_label_only and config.network.case_directions == 0):
        raise RunError("sampling.balance and network.case_directions need slides and cases.")
