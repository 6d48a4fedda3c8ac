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

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from training.config import PhaseConfig, TrainingConfig
from training.errors import RunError
from training.features import as_function, cache_features, draw_all
from training.labels import LABELS
from training.model import (
    SplitBase,
    Weights,
    build_base,
    build_head,
    build_pooled,
    build_tuned,
    build_whole,
    split_base,
)
from training.progress import tracked
from training.systems.oversampling import oversample
from training.systems.svm import fit_svm

PhaseName = Literal["head", "fine_tune", "whole"]
"""`whole` is training from scratch, where nothing is frozen."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch measured; test values are for the reader and decide nothing."""

    phase: PhaseName
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
            tiles: uint8 `[n, side, side, 3]`, of the side that the network takes.
            class_indices: int64 `[n]`, positions in `LABELS`.
            config: the run's configuration.

        Raises:
            WeightsError: the base network's weights are missing or belong to another network.
        """
        import keras  # noqa: PLC0415 - seconds to import

        self._config = config
        self._system = config.network.entry
        self._class_indices = class_indices
        self._targets = np.eye(len(LABELS), dtype=np.float32)[class_indices]
        self._pooled: NDArray[Any]
        if not self._system.is_pretrained:
            self._pooled = draw_all(tiles, config.augment, config.seed)
            return
        keras.utils.set_random_seed(config.seed)  # of an untrained base
        self._base = build_base(config.network.weights, self._system, config.network.input_side_px)
        views = config.augment, config.seed, self._system.scaling
        if config.fine_tune.epochs == 0:
            self._pooled = cache_features(build_pooled(self._base), tiles, *views)
            return
        seam = config.fine_tune.first_layer or self._system.seam or ""
        self._network: SplitBase = split_base(self._base, seam)
        self._start_weights: Weights = self._network.upper.get_weights()
        self._seam = cache_features(self._network.lower, tiles, *views)
        self._pooled = _pool(self._network.upper, self._seam)

    def fit(self, train: NDArray[np.int64], test: NDArray[np.int64], seed: int) -> Fitted:
        """Fit on some tiles, answer for others.

        Args:
            train: positions of the training tiles, int64 `[n_train]`.
            test: positions of the test tiles, int64 `[n_test]`; may be empty.
            seed: of initial weights, dropout and order; the same seed gives the same weights.
        """
        import keras  # noqa: PLC0415 - seconds to import

        keras.utils.set_random_seed(seed)
        if self._system.head == "svm":
            return self._fit_machine(train, test, seed)
        if not self._system.is_pretrained:
            return self._fit_from_scratch(train, test, seed)
        config = self._config
        if config.fine_tune.epochs > 0:
            self._network.upper.set_weights(self._start_weights)
        rng = np.random.default_rng(seed)
        head = self._build_head(seed)

        phase = Phase("head", head, config.head, self._pooled, self._targets)
        history = list(phase.run(train, test, self._views_of(self._pooled), rng))
        if config.fine_tune.epochs > 0:
            tuned = build_tuned(self._network.upper, head)
            views = _some_views(self._seam.shape[1], config.fine_tune.views_per_epoch)
            phase = Phase("fine_tune", tuned, config.fine_tune, self._seam, self._targets)
            history += phase.run(train, test, views, rng)
        return Fitted(
            base_weights=self._base.get_weights(),
            head_weights=head.get_weights(),
            test_logits=phase.answer(test),
            history=tuple(history),
        )

    def _fit_from_scratch(
        self, train: NDArray[np.int64], test: NDArray[np.int64], seed: int
    ) -> Fitted:
        """Base and head together from random weights, all of them trained."""
        config, system = self._config, self._system
        base = build_base(config.network.weights, system, config.network.input_side_px)
        head = self._build_head(seed)
        phase = Phase(
            "whole", build_whole(base, head, system), config.head, self._pooled, self._targets
        )
        rng = np.random.default_rng(seed)
        history = tuple(phase.run(train, test, self._views_of(self._pooled), rng))
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
        choose = _all_views(features.shape[1])
        if not self._system.oversamples:
            return choose
        return lambda tiles, rng: choose(oversample(tiles, self._class_indices[tiles], rng), rng)


ViewPositions = Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.int64]]
"""From tile positions `[n]` to (tile, view) pairs `[m, 2]`: what one epoch goes through."""


class Phase:
    """One phase of training: a graph, an optimizer and the loop over epochs and steps."""

    def __init__(
        self,
        name: PhaseName,
        graph: Any,
        config: PhaseConfig,
        features: NDArray[Any],
        targets: NDArray[np.float32],
    ) -> None:
        """Prepare the step.

        Args:
            name: what the records call this phase.
            graph: float32 features of one view to logits.
            config: of the phase.
            features: `[n, 1 + n_views, ...]`: float32 features, or uint8 tiles.
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
            loss = loss_of(targets, logits) + sum(graph.losses)
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


_ANSWERED: Final = 512
"""Tiles that are answered at once; at 512 the last feature map takes 130 MB."""


def _batches(pairs: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(pairs), batch_size):
        yield pairs[start : start + batch_size]
