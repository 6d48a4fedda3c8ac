"""The study's head on cached features, in NumPy: Dense 100, Dense 3, Adam, cross-entropy.

A test compares its steps with Keras. A fit needs neither TensorFlow nor tiles, so it can run on
another machine: this module imports only NumPy. Decision 30 compares it with other ways to fit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
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
# Denormal numbers slow a processor down a hundred times. These bounds lie far below what changes a
# weight; TensorFlow flushes such numbers to zero too.
_NO_GRADIENT: Final = 1e-15
_NO_MEAN: Final = 1e-25
_NO_SQUARE: Final = 1e-36
_SWEEP_STEPS: Final = 100
"""In this many steps, no moment decays from its bound to a denormal number."""


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """The settings of a fit.

    Attributes:
        learning_rate: constant learning rate of Adam.
        epochs: passes over the training tiles. The fit runs for the largest number and returns the
            logits after each, since the first epochs of a longer run are the shorter run.
        batch_size: views a step.
        hidden_units: width of the hidden layer.
        n_views: transformed views of each training tile an epoch, besides the original.
        seed: decides the initial weights and the order; one number or several.
        n_classes: number of labels.
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
    """What a fit measured after every epoch, and its last logits.

    Attributes:
        loss, accuracy: float64 `[epochs]`, measured on the training views during the epoch.
        test_loss: float64 `[epochs]`; NaN without test tiles.
        answers: int64 `[epochs, n_test]`, the class of the largest logit.
        logits: float32 `[n_test, C]` after each number of epochs in the settings.
        weights: kernel and bias of the hidden layer, then of the logits.
        seconds: duration of the fit.
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
    """Fit a head on the training tiles, and classify the test tiles after every epoch.

    Args:
        features: float32 `[n, 1 + v, E]`; view 0 is the original, the only one that is tested.
        class_indices: int64 `[n]`.
        train: positions of the training tiles.
        test: positions of the test tiles; may be empty.
        settings: `n_views` is at most v; each epoch draws that many of the v views anew.
        fresh_views: replaces the cached transformed views.
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
        shown, rows = features, train
        if fresh_views is not None:
            shown = np.concatenate([features[train, :1], fresh_views(epoch)], axis=1)
            rows = np.arange(len(train))
        pairs = draw_pairs(len(rows), shown.shape[1], settings.n_views, rng)
        loss_sum, n_right = 0.0, 0
        for start in range(0, len(pairs), settings.batch_size):
            i, view = pairs[start : start + settings.batch_size].T
            loss, logits = head.step(
                shown[rows[i], view], one_hot[truth[i]], settings.learning_rate
            )
            loss_sum += loss * len(i)
            n_right += int((logits.argmax(axis=1) == truth[i]).sum())
        losses.append(loss_sum / len(pairs))
        accuracies.append(n_right / len(pairs))
        _, logits = head.forward(tested)
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
    """Two dense layers with ReLU between them, their gradients and Adam's moments."""

    def __init__(
        self, embedding_size: int, hidden_units: int, n_classes: int, rng: np.random.Generator
    ) -> None:
        """Draw initial weights as Keras does: Glorot & Bengio 2010 (uniform), biases 0."""
        kernel, out_kernel = (embedding_size, hidden_units), (hidden_units, n_classes)
        ends = np.cumsum([math.prod(kernel), hidden_units, math.prod(out_kernel), n_classes])
        # One buffer holds all weights, so that Adam makes ten passes and not forty.
        self._buffers = np.zeros((4, ends[-1]), dtype=np.float32)

        def parts(flat: Features) -> tuple[Features, ...]:
            first, bias, second, out_bias = np.split(flat, ends[:-1])
            return first.reshape(kernel), bias, second.reshape(out_kernel), out_bias

        self.parts, self._gradients = parts(self._buffers[0]), parts(self._buffers[1])
        for part in (self.parts[0], self.parts[2]):
            limit = math.sqrt(6.0 / sum(part.shape))
            part[...] = rng.uniform(-limit, limit, part.shape)
        self._n_steps = 0

    def forward(self, features: Features) -> tuple[Features, Features]:
        """Hidden layer, float32 `[n, H]`, and logits, float32 `[n, C]`, of features `[n, E]`."""
        kernel, bias, out_kernel, out_bias = self.parts
        hidden: Features = features @ kernel
        hidden += bias
        np.maximum(hidden, 0.0, out=hidden)
        return hidden, hidden @ out_kernel + out_bias

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
        hidden, logits = self.forward(features)
        shifted = logits - logits.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        sums = exponentials.sum(axis=1, keepdims=True)
        loss = float((np.log(sums)[:, 0] - (shifted * targets).sum(axis=1)).mean())
        slope = (exponentials / sums - targets) / np.float32(len(features))
        slope[np.abs(slope) < _NO_GRADIENT] = 0.0
        hidden_slope = (slope @ self.parts[2].T) * (hidden > 0.0)
        np.matmul(features.T, hidden_slope, out=self._gradients[0])
        np.sum(hidden_slope, axis=0, out=self._gradients[1])
        np.matmul(hidden.T, slope, out=self._gradients[2])
        np.sum(slope, axis=0, out=self._gradients[3])
        self._adam(learning_rate)
        return loss, logits

    def _adam(self, learning_rate: float) -> None:
        self._n_steps += 1
        weights, gradients, mean, square = self._buffers
        n = self._n_steps
        rate = learning_rate * math.sqrt(1 - _BETA_2**n) / (1 - _BETA_1**n)
        mean += (gradients - mean) * np.float32(1 - _BETA_1)
        square += (np.square(gradients) - square) * np.float32(1 - _BETA_2)
        weights -= mean / (np.sqrt(square) + np.float32(_EPSILON)) * np.float32(rate)
        if n % _SWEEP_STEPS == 0:
            mean[np.abs(mean) < _NO_MEAN] = 0.0
            square[square < _NO_SQUARE] = 0.0


def mean_loss(logits: Features, truth: Positions) -> float:
    """Mean cross-entropy in nats of logits, float32 `[n, C]`, for true classes, int64 `[n]`."""
    exact = logits.astype(np.float64)
    shifted = exact - exact.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sums - shifted[np.arange(len(truth)), truth]).mean())


def draw_pairs(n_tiles: int, n_shown: int, n_drawn: int, rng: np.random.Generator) -> Positions:
    """(tile, view) pairs of one epoch in random order, int64 `[n_tiles * (1 + n_drawn), 2]`."""
    views = np.zeros((n_tiles, 1 + n_drawn), dtype=np.int64)
    if n_drawn:
        ranked = rng.random((n_tiles, n_shown - 1)).argsort(axis=1)
        views[:, 1:] = 1 + ranked[:, :n_drawn]
    tiles = np.repeat(np.arange(n_tiles), 1 + n_drawn)
    return rng.permutation(np.stack([tiles, views.ravel()], axis=1))
