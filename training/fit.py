"""Fit a classifier on the training tiles of one fold, in two phases, on cached features.

1. Head: the base network is frozen, so its pooled features are constants and an epoch takes
   milliseconds.
2. Fine-tune (optional): the last blocks and the head go on together at a low rate, from the cached
   output of the layers below. Batch normalisation stays in inference mode.

Both phases may end with the running average of the weights instead of the last step's (Polyak &
Juditsky 1992), so that one unlucky epoch does not decide and no tile is spent on early stopping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.config import PhaseConfig, TrainingConfig
from training.features import as_function, cache_features
from training.labels import LABELS
from training.model import SplitBase, Weights, build_base, build_head, build_tuned, split_base
from training.progress import tracked


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch measured; test values are for the reader and decide nothing."""

    phase: Literal["head", "fine_tune"]
    epoch: int
    loss: float
    accuracy: float
    test_loss: float | None
    test_accuracy: float | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


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
        self, tiles: NDArray[np.uint8], class_indices: NDArray[np.int64], config: TrainingConfig
    ) -> None:
        """Build the network and run its frozen part once.

        Args:
            tiles: uint8 `[n, 224, 224, 3]`.
            class_indices: int64 `[n]`, positions in `LABELS`.
            config: the run's configuration.

        Raises:
            WeightsError: the base network's weights are missing or belong to another network.
        """
        self._config = config
        self._targets = np.eye(len(LABELS), dtype=np.float32)[class_indices]
        self._network: SplitBase = split_base(
            build_base(config.network.weights), config.fine_tune.first_layer
        )
        self._start_weights: Weights = self._network.upper.get_weights()
        self._seam = cache_features(self._network.lower, tiles, config.augment, config.seed)
        self._pooled = _pool(self._network.upper, self._seam)
        if config.fine_tune.epochs == 0:
            self._seam = self._pooled  # a hundredth of the memory, and never read

    def fit(self, train: NDArray[np.int64], test: NDArray[np.int64], seed: int) -> Fitted:
        """Fit on some tiles, answer for others.

        Args:
            train: positions of the training tiles, int64 `[n_train]`.
            test: positions of the test tiles, int64 `[n_test]`; may be empty.
            seed: of initial weights, dropout and order; the same seed gives the same weights.
        """
        import keras  # noqa: PLC0415 - seconds to import

        keras.utils.set_random_seed(seed)
        config, upper = self._config, self._network.upper
        upper.set_weights(self._start_weights)
        rng = np.random.default_rng(seed)
        head = build_head(config.network.hidden_units, config.network.dropout, seed)

        phase = Phase("head", head, config.head, self._pooled, self._targets)
        history = list(phase.run(train, test, _all_views(self._pooled.shape[1]), rng))
        if config.fine_tune.epochs > 0:
            tuned = build_tuned(upper, head)
            views = _some_views(self._seam.shape[1], config.fine_tune.views_per_epoch)
            phase = Phase("fine_tune", tuned, config.fine_tune, self._seam, self._targets)
            history += phase.run(train, test, views, rng)
        return Fitted(
            base_weights=self._network.base.get_weights(),
            head_weights=head.get_weights(),
            test_logits=phase.answer(test),
            history=tuple(history),
        )


ViewPositions = Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.int64]]
"""From tile positions `[n]` to (tile, view) pairs `[m, 2]`: what one epoch goes through."""


class Phase:
    """One phase of training: a graph, an optimizer and the loop over epochs and steps."""

    def __init__(
        self,
        name: Literal["head", "fine_tune"],
        graph: Any,
        config: PhaseConfig,
        features: NDArray[np.float32],
        targets: NDArray[np.float32],
    ) -> None:
        """Prepare the step.

        Args:
            name: what the records call this phase.
            graph: float32 features of one view to logits.
            config: of the phase.
            features: float32 `[n, 1 + n_views, ...]`.
            targets: float32 `[n, C]`, one-hot.
        """
        self._name = name
        self._graph = graph
        self._config = config
        self._features = features
        self._targets = targets
        self._infer = as_function(graph)
        self._step = _make_step(graph, config)

    def run(
        self,
        train: NDArray[np.int64],
        test: NDArray[np.int64],
        views: ViewPositions,
        rng: np.random.Generator,
    ) -> Iterator[EpochRecord]:
        """Train, yielding a record after each epoch; the graph's weights are the result."""
        average = _RunningAverage(self._graph.trainable_variables, self._config.averaging)
        for epoch in range(1, self._config.epochs + 1):
            losses, hits = [], []
            pairs = rng.permutation(views(train, rng))
            for batch in _batches(pairs, self._config.batch_size):
                tiles, shown = batch.T
                loss, logits = self._step(self._features[tiles, shown], self._targets[tiles])
                average.update()
                losses.append(float(loss))
                hits.append(np.argmax(logits, axis=1) == np.argmax(self._targets[tiles], axis=1))
            if epoch == self._config.epochs:
                average.assign()
            yield EpochRecord(
                self._name,
                epoch,
                float(np.mean(losses)),
                float(np.concatenate(hits).mean()),
                *self._test(test),
            )

    def answer(self, tiles: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits, float32 `[n, C]`, of the original view of some tiles."""
        if tiles.size == 0:
            return np.empty((0, len(LABELS)), dtype=np.float32)
        logits: NDArray[np.float32] = self._infer(self._features[tiles, 0])
        return logits

    def _test(self, test: NDArray[np.int64]) -> tuple[float | None, float | None]:
        if test.size == 0:
            return None, None
        logits = self.answer(test).astype(np.float64)
        targets = self._targets[test]
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        loss = -(targets * log_probabilities).sum(axis=1).mean()
        return float(loss), float((logits.argmax(axis=1) == targets.argmax(axis=1)).mean())


class _RunningAverage:
    """Exponential average of weights, started at the first step rather than at random weights."""

    def __init__(self, variables: list[Any], momentum: float) -> None:
        self._variables = variables
        self._momentum = momentum
        self._n_steps = 0
        self._values: Weights = []

    def update(self) -> None:
        if self._momentum == 0.0:
            return
        self._n_steps += 1
        # Short runs would otherwise remember mostly where they began.
        keep = min(self._momentum, self._n_steps / (self._n_steps + 9))
        now = [variable.numpy() for variable in self._variables]
        if not self._values:
            self._values = now
        self._values = [keep * a + (1 - keep) * b for a, b in zip(self._values, now, strict=True)]

    def assign(self) -> None:
        """Put the average into the graph."""
        for variable, value in zip(self._variables, self._values, strict=False):
            variable.assign(value)


def _make_step(graph: Any, config: PhaseConfig) -> Any:
    """A compiled training step: (features, one-hot targets) to (loss, logits)."""
    import keras  # noqa: PLC0415
    import tensorflow  # noqa: PLC0415

    optimizer = keras.optimizers.Adam(config.learning_rate)
    optimizer.build(graph.trainable_variables)
    loss_of = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=config.label_smoothing
    )

    @tensorflow.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(features: Any, targets: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            logits = graph(features, training=True)
            loss = loss_of(targets, logits)
        gradients = tape.gradient(loss, graph.trainable_variables)
        optimizer.apply(gradients, graph.trainable_variables)
        return loss, logits

    return step


def _pool(upper: Any, seam: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pooled features, float32 `[n, 1 + n_views, 1280]`, from what the frozen part answered."""
    infer = as_function(upper)
    return np.stack([infer(views).mean(axis=(1, 2)) for views in tracked("Pooling")(list(seam))])


def _all_views(n_shown: int) -> ViewPositions:
    def choose(tiles: NDArray[np.int64], _: np.random.Generator) -> NDArray[np.int64]:
        return np.stack([np.repeat(tiles, n_shown), np.tile(np.arange(n_shown), len(tiles))], 1)

    return choose


def _some_views(n_shown: int, n_chosen: int) -> ViewPositions:
    """The original of each tile and `n_chosen` of its transformed views, drawn anew each epoch."""

    def choose(tiles: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        shown = [[0, *(1 + rng.permutation(n_shown - 1)[:n_chosen])] for _ in tiles]
        return np.array([(t, v) for t, views in zip(tiles, shown, strict=True) for v in views])

    return choose


def _batches(pairs: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(pairs), batch_size):
        yield pairs[start : start + batch_size]
