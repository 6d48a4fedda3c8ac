"""The study's head on cached features, in NumPy: Dense 100, Dense 3, Adam, cross-entropy.

It does what Keras does, step by step (a test holds it against Keras), in a fifth of the time: at
this size a Keras step is mostly overhead. A run needs neither TensorFlow nor tiles, so it can be
sent to another machine as it is: this module imports NumPy and nothing of this project.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
Positions = NDArray[np.int64]
FreshViews = Callable[[int], Features]
"""From an epoch (from 1) to transformed views of the training tiles, float32 `[n_train, k, E]`."""

# Adam's defaults: Kingma & Ba 2015, arXiv:1412.6980, with Keras's epsilon.
_BETA_1: Final = 0.9
_BETA_2: Final = 0.999
_EPSILON: Final = 1e-7
# A processor computes with denormal numbers a hundred times slower, and both of these are far below
# what changes a weight. TensorFlow flushes such numbers to zero too.
_NO_GRADIENT: Final = 1e-15
_NO_MEAN: Final = 1e-25
_NO_SQUARE: Final = 1e-36
_SWEEP_STEPS: Final = 100
"""In so many steps neither moment, left alone, shrinks from its bound to a denormal number."""


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """What a run's training depends on, beside features and labels.

    Attributes:
        learning_rate: of Adam, constant.
        epochs: passes over the training tiles; of several numbers, each is answered for on the way
            to the greatest, since the first epochs of a longer run are the shorter run.
        batch_size: views a step.
        hidden_units: width of the hidden layer.
        n_views: transformed views of each training tile that one epoch takes, beside the original.
        seed: of the initial weights and the order; one number or several.
        n_classes: of the labels.
    """

    learning_rate: float
    epochs: tuple[int, ...]
    batch_size: int = 32
    hidden_units: int = 100
    n_views: int = 0
    seed: tuple[int, ...] = (0,)
    n_classes: int = 3


@dataclass(frozen=True, slots=True)
class HeadFit:
    """What every epoch measured, and what the last one answered.

    Attributes:
        loss, accuracy: float64 `[epochs]`, of the training views while they were trained on.
        test_loss: float64 `[epochs]`; NaN without test tiles.
        answers: int64 `[epochs, n_test]`, the class of the largest logit.
        logits: float32 `[n_test, C]` after each of the numbers of epochs asked for.
        weights: kernel and bias of the hidden layer, then of the logits.
        seconds: that all of it took.
    """

    loss: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    test_loss: NDArray[np.float64]
    answers: NDArray[np.int64]
    logits: dict[int, Features]
    weights: tuple[Features, ...]
    seconds: float


def fit_head(
    features: Features,
    class_indices: Positions,
    train: Positions,
    test: Positions,
    settings: HeadSettings,
    fresh_views: FreshViews | None = None,
) -> HeadFit:
    """Train a head on some tiles, answer for others after every epoch.

    Args:
        features: float32 `[n, 1 + v, E]`; view 0 is the original, and alone is tested.
        class_indices: int64 `[n]`.
        train: positions of the training tiles.
        test: positions of the test tiles; may be empty.
        settings: what to do; `n_views` is at most v, of which each epoch draws that many anew.
        fresh_views: takes the place of the cached transformed views.
    """
    rng = np.random.default_rng(settings.seed)
    head = Head(features.shape[2], settings.hidden_units, settings.n_classes, rng)
    one_hot = np.eye(settings.n_classes, dtype=np.float32)
    tested, test_truth = np.ascontiguousarray(features[test, 0]), class_indices[test]
    truth = class_indices[train]
    losses, accuracies, test_losses, answers = [], [], [], []
    logits_after: dict[int, Features] = {}
    started = time.perf_counter()
    for epoch in range(1, max(settings.epochs) + 1):
        if fresh_views is None:
            shown, rows = features, train
        else:
            shown = np.concatenate([features[train, :1], fresh_views(epoch)], axis=1)
            rows = np.arange(len(train))
        pairs = draw_pairs(len(rows), shown.shape[1], settings.n_views, rng)
        loss_sum, n_right = 0.0, 0
        for i, view in _batches(pairs, settings.batch_size):
            batch_loss, batch_logits = head.step(
                shown[rows[i], view], one_hot[truth[i]], settings.learning_rate
            )
            loss_sum += batch_loss * len(i)
            n_right += int((batch_logits.argmax(axis=1) == truth[i]).sum())
        losses.append(loss_sum / len(pairs))
        accuracies.append(n_right / len(pairs))
        logits = head.logits(tested)
        answers.append(logits.argmax(axis=1))
        if epoch in settings.epochs:
            logits_after[epoch] = logits
        test_losses.append(mean_loss(logits, test_truth) if len(test) else math.nan)
    return HeadFit(
        loss=np.array(losses),
        accuracy=np.array(accuracies),
        test_loss=np.array(test_losses),
        answers=np.array(answers, dtype=np.int64),
        logits=logits_after,
        weights=tuple(part.copy() for part in head.parts),
        seconds=time.perf_counter() - started,
    )


class Head:
    """Two dense layers with relu between them, their gradients and Adam's moments."""

    def __init__(
        self, embedding_size: int, hidden_units: int, n_classes: int, rng: np.random.Generator
    ) -> None:
        """Draw initial weights: Glorot & Bengio 2010 (uniform), biases 0, as Keras does."""
        shapes = (
            (embedding_size, hidden_units),
            (hidden_units,),
            (hidden_units, n_classes),
            (n_classes,),
        )
        size = sum(math.prod(shape) for shape in shapes)
        # One buffer for all weights, so that Adam is ten passes over it and not forty.
        self._weights, self._gradients = np.zeros((2, size), dtype=np.float32)
        self._mean, self._square, self._scratch = np.zeros((3, size), dtype=np.float32)
        self.parts = _parts(self._weights, shapes)
        self._gradient_parts = _parts(self._gradients, shapes)
        for part in (self.parts[0], self.parts[2]):
            limit = math.sqrt(6.0 / sum(part.shape))
            part[...] = rng.uniform(-limit, limit, part.shape)
        self._n_steps = 0

    def logits(self, features: Features) -> Features:
        """Float32 `[n, E]` to `[n, C]`."""
        kernel, bias, out_kernel, out_bias = self.parts
        hidden: Features = features @ kernel
        hidden += bias
        logits: Features = np.maximum(hidden, 0.0, out=hidden) @ out_kernel + out_bias
        return logits

    def step(
        self, features: Features, targets: Features, learning_rate: float
    ) -> tuple[float, Features]:
        """One step of Adam on the mean cross-entropy of a batch.

        Args:
            features: float32 `[b, E]`.
            targets: float32 `[b, C]`, one-hot.
            learning_rate: above 0.

        Returns:
            The loss and the logits, float32 `[b, C]`, before the step.
        """
        kernel, bias, out_kernel, out_bias = self.parts
        hidden: Features = features @ kernel
        hidden += bias
        np.maximum(hidden, 0.0, out=hidden)
        logits: Features = hidden @ out_kernel + out_bias
        shifted = logits - logits.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        sums = exponentials.sum(axis=1, keepdims=True)
        loss = float((np.log(sums)[:, 0] - (shifted * targets).sum(axis=1)).mean())
        slope = (exponentials / sums - targets) / np.float32(len(features))
        slope[np.abs(slope) < _NO_GRADIENT] = 0.0
        g_kernel, g_bias, g_out_kernel, g_out_bias = self._gradient_parts
        np.matmul(hidden.T, slope, out=g_out_kernel)
        np.sum(slope, axis=0, out=g_out_bias)
        hidden_slope = (slope @ out_kernel.T) * (hidden > 0.0)
        np.matmul(features.T, hidden_slope, out=g_kernel)
        np.sum(hidden_slope, axis=0, out=g_bias)
        self._adam(learning_rate)
        return loss, logits

    def _adam(self, learning_rate: float) -> None:
        self._n_steps += 1
        step = self._n_steps
        rate = learning_rate * math.sqrt(1 - _BETA_2**step) / (1 - _BETA_1**step)
        mean, square, gradients = self._mean, self._square, self._gradients
        scratch = self._scratch
        np.subtract(gradients, mean, out=scratch)
        scratch *= np.float32(1 - _BETA_1)
        mean += scratch
        np.square(gradients, out=scratch)
        scratch -= square
        scratch *= np.float32(1 - _BETA_2)
        square += scratch
        np.sqrt(square, out=scratch)
        scratch += np.float32(_EPSILON)
        np.divide(mean, scratch, out=scratch)
        scratch *= np.float32(rate)
        self._weights -= scratch
        if step % _SWEEP_STEPS == 0:
            mean[np.abs(mean) < _NO_MEAN] = 0.0
            square[square < _NO_SQUARE] = 0.0


def mean_loss(logits: Features, truth: Positions) -> float:
    """Mean cross-entropy of logits, float32 `[n, C]`, for true classes, int64 `[n]`; in nats."""
    exact = logits.astype(np.float64)
    shifted = exact - exact.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sums - shifted[np.arange(len(truth)), truth]).mean())


def _parts(flat: Features, shapes: tuple[tuple[int, ...], ...]) -> tuple[Features, ...]:
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return tuple(
        piece.reshape(shape) for piece, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)
    )


def draw_pairs(n_tiles: int, n_shown: int, n_drawn: int, rng: np.random.Generator) -> Positions:
    """(tile, view) of one epoch in random order, int64 `[n_tiles * (1 + n_drawn), 2]`."""
    views = np.zeros((n_tiles, 1 + n_drawn), dtype=np.int64)
    if n_drawn:
        ranked = rng.random((n_tiles, n_shown - 1)).argsort(axis=1)
        views[:, 1:] = 1 + ranked[:, :n_drawn]
    tiles = np.repeat(np.arange(n_tiles), 1 + n_drawn)
    return rng.permutation(np.stack([tiles, views.ravel()], axis=1))


def _batches(pairs: Positions, batch_size: int) -> Iterator[tuple[Positions, Positions]]:
    for start in range(0, len(pairs), batch_size):
        batch = pairs[start : start + batch_size]
        yield batch[:, 0], batch[:, 1]
