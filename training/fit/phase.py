"""One phase of training: a graph, an optimizer and the loop over epochs and steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import PhaseConfig
from training.distributed import on_all_replicas
from training.fit.checkpoint import Checkpoint
from training.fit.checkpoint_dir import NO_CHECKPOINTS, CheckpointDir
from training.fit.history import EpochRecord, PhaseName
from training.fit.loss import cross_entropy
from training.fit.optimizers import without_leak
from training.fit.sampling import ViewPositions
from training.fit.scorer import Scorer
from training.fit.weight_averaging import RunningAverage


class Phase:
    """One phase of training; `scorer` runs the graph with its current weights.

    A phase may end with the running average of the weights (Polyak & Juditsky 1992) instead of
    those of the last step, so that no single epoch decides and early stopping costs no tile.
    """

    def __init__(
        self,
        name: PhaseName,
        graph: Any,
        config: PhaseConfig,
        features: NDArray[Any],
        targets: NDArray[np.float32],
    ) -> None:
        """Compile the training step.

        Args:
            name: name in the records and of the checkpoint.
            graph: one view to logits.
            config: settings of the phase.
            features: `[n, 1 + n_views, ...]`: float32 features, or uint8 tiles.
            targets: float32 `[n, C]`, one-hot.
        """
        self.scorer = Scorer(graph, features, targets)
        self._name = name
        self._graph = graph
        self._config = config
        self._features = features
        self._targets = targets
        self._optimizer = _make_optimizer(graph, config)
        self._step = _make_step(graph, self._optimizer, config)

    def run(
        self,
        train: NDArray[np.int64],
        test: NDArray[np.int64],
        views: ViewPositions,
        rng: np.random.Generator,
        checkpoints: CheckpointDir = NO_CHECKPOINTS,
    ) -> Iterator[EpochRecord]:
        """Train, yielding a record after each epoch; the graph's weights are the result.

        Args:
            train: positions of the training tiles, int64 `[n_train]`.
            test: positions of the test tiles, int64 `[n_test]`.
            views: chooses what an epoch shows.
            rng: draws views and their order.
            checkpoints: the phase resumes from its checkpoint there and writes new ones.

        Raises:
            RunError: a checkpoint cannot be written.
        """
        average = RunningAverage(self._graph.trainable_variables, self._config.averaging)
        variables = [*self._graph.variables, *self._optimizer.variables]
        checkpoint = Checkpoint(checkpoints, self._name, variables, average, rng)
        progress = checkpoint.restore()
        yield from tuple(progress.records)
        while len(progress.records) < self._config.epochs:
            if progress.pairs is None:
                progress.pairs = rng.permutation(views(train, rng))
            for batch in progress.remaining(self._config.batch_size):
                tiles, shown = batch.T
                targets = self._targets[tiles]
                loss, logits = self._step(self._features[tiles, shown], targets)
                average.update()
                progress.add(float(loss), logits, targets)
                checkpoint.save_if_due(progress)
            is_last = len(progress.records) + 1 == self._config.epochs
            if is_last:
                average.assign()
            record = progress.end_epoch(self._name, self.scorer.measure_test(test))
            if is_last:
                checkpoint.save(progress)
            yield record


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
            loss = cross_entropy(targets, logits, config.label_smoothing)
            loss = weight * loss + sum(graph.losses) / n_replicas
        gradients = tape.gradient(loss, graph.trainable_variables)
        optimizer.apply(gradients, graph.trainable_variables)
        return loss, logits

    # No Python branch depends on a tensor, so AutoGraph would only make tracing slower.
    together = on_all_replicas(replica_step)
    return together or tensorflow.function(replica_step, autograph=False, reduce_retracing=True)
