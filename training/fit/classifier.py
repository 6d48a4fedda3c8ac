"""Fit a classifier on the training tiles of one fold, by one of four strategies.

- Frozen head: the backbone is frozen, so the head is fitted on cached features and an epoch takes
  milliseconds. Optionally, the last blocks of the backbone and the head are then fine-tuned
  together at a low rate, from the cached input of those blocks. Batch normalisation stays in
  inference mode.
- From scratch: a system without public weights trains backbone and head together from the pixels.
- Support vector machine, or logistic regressions: fitted on the cached features, in one step
  instead of epochs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.features.extract import pool_features
from training.features.prepare import PreparedFeatures, TunableLayers
from training.fit.checkpoint_dir import NO_CHECKPOINTS, CheckpointDir
from training.fit.feature_space import fit_head_space
from training.fit.history import EpochRecord, OnEpoch
from training.fit.logistic_parts import combine_parts, fit_parts
from training.fit.oversampling import oversampled
from training.fit.phase import Phase
from training.fit.sampling import (
    ViewPositions,
    all_views,
    balanced,
    some_views,
    without_enlarged,
)
from training.fit.scorer import Scorer, measure_logits
from training.networks.graphs import Weights, build_backbone, build_head, build_tuned, build_whole
from training.networks.svm_head import as_head, fit_svm
from training.networks.table_systems import find_table_system


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted classifier.

    Attributes:
        backbone_weights, head_weights: the arguments of `build_serving_model`.
        test_logits: float32 `[n_test, C]` of the original test tiles, in the order given.
        history: one record an epoch, the phases one after the other.
        embeddings: float32 `[n, E]` of the original, real tiles, training and test tiles alike;
            None for a system that is trained from scratch, which has no cached features.
    """

    backbone_weights: Weights
    head_weights: Weights
    test_logits: NDArray[np.float32]
    history: tuple[EpochRecord, ...]
    embeddings: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class _Job:
    """One fit: what `fit_classifier` was given, and what all strategies derive from it."""

    features: PreparedFeatures
    config: TrainingConfig
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    seed: int
    checkpoints: CheckpointDir
    on_epoch: OnEpoch

    def followed(self, records: Iterable[EpochRecord]) -> list[EpochRecord]:
        """Run a phase to its end, reporting each epoch."""
        history = []
        for record in records:
            self.on_epoch(record)
            history.append(record)
        return history

    @property
    def targets(self) -> NDArray[np.float32]:
        """One-hot labels, `[n, C]`."""
        return np.eye(len(self.config.labels), dtype=np.float32)[self.features.class_indices]

    @property
    def all_views(self) -> ViewPositions:
        """An epoch over every view, oversampled or balanced if so configured."""
        features = self.features
        views = without_enlarged(
            all_views(features.pooled.shape[1]),
            features.first_thumbnail,
            self.config.augment.n_full,
        )
        if self.config.network.entry.oversamples:
            return oversampled(views, features.class_indices)
        return self.balanced(views)

    def balanced(self, views: ViewPositions) -> ViewPositions:
        """Views drawn as `sampling.balance` says."""
        balance, features = self.config.sampling.balance, self.features
        return balanced(views, balance, features.class_indices, features.groups)

    def build_head(self, hidden_units: int | None = None) -> Any:
        """A new head, with the configuration's hidden units by default."""
        network = self.config.network
        units = hidden_units or network.hidden_units
        return build_head(
            units,
            network.dropout,
            self.seed,
            len(self.config.labels),
            self.embedding_size,
        )

    @property
    def embedding_size(self) -> int:
        """E, the length of an embedding."""
        is_pretrained = self.config.network.entry.is_pretrained
        size: int = self.features.pooled.shape[-1]
        return size if is_pretrained else self.config.network.entry.embedding_size


def fit_classifier(
    features: PreparedFeatures,
    config: TrainingConfig,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
    checkpoints: CheckpointDir = NO_CHECKPOINTS,
    on_epoch: OnEpoch = lambda _: None,
) -> Fitted:
    """Fit on some tiles, then compute the logits of others.

    Args:
        features: features of all tiles.
        config: the run's configuration, with the same `features_key` as the features.
        train: positions of the training tiles, int64 `[n_train]`.
        test: positions of the test tiles, int64 `[n_test]`; may be empty.
        seed: decides initial weights, dropout and order; the same seed gives the same weights.
        checkpoints: where the fit resumes from and writes new checkpoints.
        on_epoch: is told of each epoch; decides nothing.

    Raises:
        RunError: the features do not suit the configuration, or a checkpoint cannot be written.
        LeakError: there are no synthetic tiles for this fold, or one would be tested.
    """
    import keras

    features.require_fit(config)
    keras.utils.set_random_seed(seed)
    if features.synthetic is not None:
        train = features.synthetic.added_to(train, test)
    train = features.taught_by(train)
    job = _Job(features, config, train, test, seed, checkpoints, on_epoch)
    system = config.network.entry
    if system.head == "svm":
        return _fit_support_vector_machine(job)
    if config.network.head == "logistic":
        return _fit_logistic(job)
    return _fit_frozen_head(job) if system.is_pretrained else _fit_from_scratch(job)


def count_epochs(config: TrainingConfig) -> int:
    """Number of epochs that `fit_classifier` or `fit_table` reports."""
    name = config.network.system
    has_no_epochs = (
        find_table_system(name) is not None
        or config.network.entry.head == "svm"
        or config.network.head == "logistic"
    )
    return 1 if has_no_epochs else config.head.epochs + config.fine_tune.epochs


def _fit_frozen_head(job: _Job) -> Fitted:
    features = job.features
    if features.tunable is not None:
        features.tunable.network.trainable.set_weights(features.tunable.start_weights)
    rng = np.random.default_rng(job.seed)
    head, history = _fit_head(job, rng)
    if features.tunable is None:
        scorer = Scorer(head, features.pooled, job.targets)
        embeddings = features.pooled[: features.n_real, 0]
    else:
        scorer, tuning = _fine_tune(job, features.tunable, head, rng)
        history += tuning
        originals = features.tunable.features[: features.n_real, :1]
        embeddings = pool_features(features.tunable.network.trainable, originals)[:, 0]
    return _fitted(job, features.backbone, head, scorer, history, embeddings)


def _fit_head(job: _Job, rng: np.random.Generator) -> tuple[Any, list[EpochRecord]]:
    """The fitted head, with standardisation folded in, and its records."""
    pooled = job.features.pooled
    space = fit_head_space(pooled, job.train, job.config.network.standardize)
    head = job.build_head()
    phase = Phase("head", head, job.config.head, space.apply(pooled), job.targets)
    history = job.followed(phase.run(job.train, job.test, job.all_views, rng, job.checkpoints))
    head.set_weights(space.fold(head.get_weights()))
    return head, history


def _fine_tune(
    job: _Job, tunable: TunableLayers, head: Any, rng: np.random.Generator
) -> tuple[Scorer, list[EpochRecord]]:
    config = job.config.fine_tune
    views = job.balanced(some_views(tunable.features.shape[1], config.views_per_epoch))
    tuned = build_tuned(tunable.network.trainable, head)
    phase = Phase("fine_tune", tuned, config, tunable.features, job.targets)
    history = job.followed(phase.run(job.train, job.test, views, rng, job.checkpoints))
    return phase.scorer, history


def _fit_from_scratch(job: _Job) -> Fitted:
    network = job.config.network
    backbone = build_backbone(network.weights, network.entry, network.backbone_side_px)
    head = job.build_head()
    whole = build_whole(backbone, head, network.entry)
    phase = Phase("whole", whole, job.config.head, job.features.pooled, job.targets)
    rng = np.random.default_rng(job.seed)
    history = job.followed(phase.run(job.train, job.test, job.all_views, rng, job.checkpoints))
    return _fitted(job, backbone, head, phase.scorer, history, None)


def _fit_support_vector_machine(job: _Job) -> Fitted:
    """Fit on all views; there are no epochs, so the history is one record of the result."""
    features = job.features
    tiles, views = job.all_views(job.train, np.random.default_rng(job.seed)).T
    n_labels = len(job.config.labels)
    weights = fit_svm(
        features.pooled[tiles, views], features.class_indices[tiles], n_labels, job.seed
    )
    head = job.build_head(weights[0].shape[1])
    head.set_weights(weights)
    scorer = Scorer(head, features.pooled, job.targets)
    record = EpochRecord("head", 1, *scorer.measure(job.train), *scorer.measure_test(job.test))
    embeddings = features.pooled[: features.n_real, 0]
    history = job.followed([record])
    return _fitted(job, features.backbone, head, scorer, history, embeddings)


def _fit_logistic(job: _Job) -> Fitted:
    """Fit each part of the head; there are no epochs, so the history is one record."""
    features, weight = job.features, job.config.network.texture_weight
    backbone: Any = features.backbone
    logits_of = combine_parts(fit_parts(features, job.config, job.train), weight)
    logits = logits_of(features.embeddings()).astype(np.float32)
    tested = (
        measure_logits(logits[job.test], job.targets[job.test]) if job.test.size else (None,) * 2
    )
    train = job.train[job.train < features.n_real]
    record = EpochRecord("head", 1, *measure_logits(logits[train], job.targets[train]), *tested)
    return Fitted(
        backbone_weights=backbone.get_weights(),
        head_weights=as_head(logits_of.kernel, logits_of.bias),
        test_logits=logits[job.test],
        history=tuple(job.followed([record])),
        embeddings=features.pooled[: features.n_real, 0],
    )


def _fitted(
    job: _Job,
    backbone: Any,
    head: Any,
    scorer: Scorer,
    history: list[EpochRecord],
    embeddings: NDArray[np.float32] | None,
) -> Fitted:
    return Fitted(
        backbone_weights=backbone.get_weights(),
        head_weights=head.get_weights(),
        test_logits=scorer.logits(job.test),
        history=tuple(history),
        embeddings=embeddings,
    )
