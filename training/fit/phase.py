"""One phase of training: a graph, an optimizer and the loop over epochs and steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.augmentation.mixup import mix_style, mixup
from training.config import FineTuneConfig, PhaseConfig
from training.data.labels import LABELS
from training.distributed import on_all_replicas
from training.errors import RunError
from training.features.extract import as_function
from training.fit.checkpoints import Checkpoint
from training.fit.history import EpochRecord, PhaseName
from training.fit.loss import cross_entropy
from training.fit.optimizers import without_leak
from training.fit.sampling import ViewPositions
from training.fit.weight_averaging import RunningAverage
from training.runs.resume import NOTHING_KEPT, Work

_ANSWERED: Final = 512
"""Tiles that are answered at once; at 512 the last feature map takes 130 MB."""


class Phase:
    """One phase of training: a graph, an optimizer and the loop over epochs and steps."""

    def __init__(
        self,
        name: PhaseName,
        graph: Any,
        config: PhaseConfig,
        features: NDArray[Any],
        targets: NDArray[np.float32],
        title: str | None = None,
    ) -> None:
        """Prepare the step.

        Args:
            name: what the records call this phase.
            graph: float32 features of one view to logits.
            config: of the phase.
            features: `[n, 1 + n_views, ...]`: float32 features, or uint8 tiles.
            targets: float32 `[n, C]`, one-hot.
            title: what its checkpoint is called, where a fit has several phases of one name.
        """
        self._name = name
        self._title = title or name
        self._graph = graph
        self._config = config
        self._features = features
        self._targets = targets
        self._infer = as_function(graph)
        self._optimizer = _make_optimizer(graph, config)
        self._step = _make_step(graph, self._optimizer, config)

    def run(
        self,
        train: NDArray[np.int64],
        test: NDArray[np.int64],
        views: ViewPositions,
        rng: np.random.Generator,
        work: Work = NOTHING_KEPT,
    ) -> Iterator[EpochRecord]:
        """Train, yielding a record after each epoch; the graph's weights are the result.

        Args:
            train: positions of the training tiles, int64 `[n_train]`.
            test: of the test tiles, int64 `[n_test]`.
            views: what an epoch goes through.
            rng: draws views, order and mixtures.
            work: where checkpoints are kept; what it holds of this phase is gone on with.

        Raises:
            RunError: a checkpoint cannot be written.
        """
        average = RunningAverage(self._graph.trainable_variables, self._config.averaging)
        variables = [*self._graph.variables, *self._optimizer.variables]
        checkpoint = Checkpoint(work, self._title, variables, average, rng)
        course = checkpoint.restore()
        yield from tuple(course.records)
        while len(course.records) < self._config.epochs:
            if course.pairs is None:
                course.pairs = rng.permutation(views(train, rng))
            for batch in course.remaining(self._config.batch_size):
                features, targets = self._mixed(batch, rng)
                loss, logits = self._step(features, targets)
                average.update()
                course.add(float(loss), logits, targets)
                checkpoint.keep_if_due(course)
            is_last = len(course.records) + 1 == self._config.epochs
            if is_last:
                average.assign()
            record = course.end_epoch(self._name, self._test(test))
            if is_last:
                checkpoint.keep(course)
            yield record

    def _mixed(
        self, batch: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        tiles, shown = batch.T
        features, targets = self._features[tiles, shown], self._targets[tiles]
        if isinstance(self._config, FineTuneConfig) and self._config.mix_style > 0:
            features = mix_style(features, self._config.mix_style, rng)
        if self._config.mixup > 0:
            mixed, targets = mixup(features.astype(np.float32), targets, self._config.mixup, rng)
            features = mixed.astype(features.dtype)
        return features, targets

    def answer(self, tiles: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits, float32 `[n, C]`, of the original view of some tiles."""
        if tiles.size == 0:
            return np.empty((0, len(LABELS)), dtype=np.float32)
        batches = [self._infer(self._features[batch, 0]) for batch in _batches(tiles, _ANSWERED)]
        return np.concatenate(batches)

    def measure(self, train: NDArray[np.int64], test: NDArray[np.int64]) -> EpochRecord:
        """Loss and accuracy of the graph as it is, as if an epoch had ended."""
        loss, accuracy = self._test(train)
        if loss is None or accuracy is None:
            raise RunError("There are no training tiles.")
        return EpochRecord(self._name, 1, loss, accuracy, *self._test(test))

    def _test(self, test: NDArray[np.int64]) -> tuple[float | None, float | None]:
        if test.size == 0:
            return None, None
        logits = self.answer(test).astype(np.float64)
        targets = self._targets[test]
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        loss = -(targets * log_probabilities).sum(axis=1).mean()
        return float(loss), float((logits.argmax(axis=1) == targets.argmax(axis=1)).mean())


def _make_optimizer(graph: Any, config: PhaseConfig) -> Any:
    import keras

    optimizer = keras.optimizers.Adam(config.learning_rate)
    if config.weight_decay > 0:
        optimizer = keras.optimizers.AdamW(config.learning_rate, config.weight_decay)
    optimizer = without_leak(optimizer)
    optimizer.build(graph.trainable_variables)
    return optimizer


def _make_step(graph: Any, optimizer: Any, config: PhaseConfig) -> Any:
    """A compiled training step: (features, one-hot targets) to (loss, logits)."""
    import tensorflow

    def replica_step(
        features: Any, targets: Any, weight: Any = 1.0, n_replicas: int = 1
    ) -> tuple[Any, Any]:
        with tensorflow.GradientTape() as tape:
            logits = graph(features, training=True)
            loss = cross_entropy(targets, logits, config.label_smoothing, config.tumor_weight)
            loss = weight * loss + sum(graph.losses) / n_replicas
        gradients = tape.gradient(loss, graph.trainable_variables)
        optimizer.apply(gradients, graph.trainable_variables)
        return loss, logits

    together = on_all_replicas(replica_step)
    return together or tensorflow.function(replica_step, reduce_retracing=True)


def _batches(pairs: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(pairs), batch_size):
        yield pairs[start : start + batch_size]
