"""What trains the study's head fastest, and whether all of them train the same one.

    python -m benchmarks.study_heads

Every way gets the same drawn features (the sizes of MobileNetV2's on the whole collection), initial
weights and batches, and one thread. The rounds take turns, so ratios hold on a busy machine too.
Decision 30 holds the table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.machine import describe_host
from benchmarks.tables import render_table
from training.experiments.study.head import (
    Features,
    Head,
    HeadSettings,
    Positions,
    draw_pairs,
    fit_head,
)

N_TILES, N_TEST, EMBEDDING = 1144, 114, 1280
SETTINGS: Final = HeadSettings(learning_rate=1e-3, epochs=(5,))
N_TOGETHER: Final = 10
"""Heads that the batched ways train at once; Figure 3 has 30 for each number of epochs."""

Way = Callable[[Features, Positions, int], list[Features]]
"""From tiles' features, labels and a number of heads to each head's logits of the test tiles."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study_heads", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds; medians are reported (5)")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    rng = np.random.default_rng(0)
    truth = np.arange(N_TILES) % 3
    features = rng.gamma(0.3, 1.5, (N_TILES, EMBEDDING)).astype(np.float32)
    features[:, :30] += rng.random((3, 30), dtype=np.float32)[truth]
    ways: dict[str, tuple[Way, int]] = {
        "NumPy, `fit_head`": (with_numpy, 1),
        "scikit-learn, `MLPClassifier.partial_fit`": (with_scikit_learn, 1),
        "Keras, `fit`": (with_keras, 1),
        "TensorFlow, a compiled step": (with_tensorflow, 1),
        f"TensorFlow, {N_TOGETHER} heads by `einsum`": (with_tensorflow, N_TOGETHER),
        f"the same under XLA, {N_TOGETHER} heads": (with_xla, N_TOGETHER),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, Features] = {}
    with threadpool_limits(1, user_api="blas"):
        for number in range(options.rounds + 1):
            for name, (way, n_heads) in ways.items():
                started = time.perf_counter()
                answers[name] = way(features, truth, n_heads)[0]
                if number:  # the first round compiles
                    seconds[name].append((time.perf_counter() - started) / n_heads)
    print(render(seconds, answers, truth))
    machine = describe_host()
    print(f"\n{machine['cpu']}, one thread, load {machine['load_at_start']}, {machine['date']}")
    return 0


def render(seconds: dict[str, list[float]], answers: dict[str, Features], truth: Positions) -> str:
    """The table, as Markdown: NumPy comes first, and the others are compared with it."""
    first = next(iter(seconds))
    n_steps = SETTINGS.epochs[0] * -(-(N_TILES - N_TEST) // SETTINGS.batch_size)
    rows = []
    for name, values in seconds.items():
        ratios = [mine / base for mine, base in zip(values, seconds[first], strict=True)]
        apart = float(np.abs(answers[name] - answers[first]).max())
        right = int((answers[name].argmax(1) == truth[-N_TEST:]).sum())
        rows.append(
            [
                name,
                f"{1000 * statistics.median(values) / n_steps:.2f}",
                f"{statistics.median(ratios):.2f}",
                f"{apart:.1e}",
                f"{right} of {N_TEST}",
            ]
        )
    header = ["head trained by", "ms a step and head", "times NumPy", "logits apart", "right"]
    return render_table(header, rows)


def with_numpy(features: Features, truth: Positions, n_heads: int) -> list[Features]:
    """The study's own."""
    del n_heads
    places = np.arange(N_TILES)
    train, test = places[:-N_TEST], places[-N_TEST:]
    fitted = fit_head(features[:, None], truth, train, test, SETTINGS)
    return [fitted.logits[SETTINGS.epochs[0]]]


def with_scikit_learn(features: Features, truth: Positions, n_heads: int) -> list[Features]:
    """An epoch a call; `_init_coef` is private, and only equality needs it."""
    del n_heads
    from sklearn.neural_network import MLPClassifier

    head, orders = _drawn(0)
    initial = iter([(head[0], head[1]), (head[2], head[3])])

    class Started(MLPClassifier):  # type: ignore[misc]  # scikit-learn ships no types
        def _init_coef(self, *_: Any) -> Any:
            return next(initial)

    network = Started(
        (SETTINGS.hidden_units,),
        alpha=0.0,
        batch_size=SETTINGS.batch_size,
        learning_rate_init=SETTINGS.learning_rate,
        shuffle=False,
        epsilon=1e-7,
    )
    for order in orders:
        network.partial_fit(features[order], truth[order], classes=range(3))
        network.predict_proba(features[-N_TEST:])
    hidden = np.maximum(features[-N_TEST:] @ network.coefs_[0] + network.intercepts_[0], 0)
    return [hidden @ network.coefs_[1] + network.intercepts_[1]]


_MODELS: list[Any] = []
"""Keras compiles once, too."""


def with_keras(features: Features, truth: Positions, n_heads: int) -> list[Features]:
    """The simplest: `fit`, an epoch a call, since each epoch has an order of its own."""
    del n_heads
    import keras

    head, orders = _drawn(0)
    if not _MODELS:
        dense = keras.layers.Dense
        layers = [keras.layers.Input((EMBEDDING,)), dense(SETTINGS.hidden_units, "relu"), dense(3)]
        _MODELS.append(keras.Sequential(layers))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        adam = keras.optimizers.Adam(SETTINGS.learning_rate)
        _MODELS[0].compile(adam, loss, metrics=["accuracy"])
    model = _MODELS[0]
    model.set_weights(head)
    for variable in model.optimizer.variables:
        if "learning_rate" not in variable.path:
            variable.assign(np.zeros(variable.shape, variable.dtype))
    for order in orders:
        model.fit(
            features[order],
            truth[order],
            SETTINGS.batch_size,
            validation_data=(features[-N_TEST:], truth[-N_TEST:]),
            shuffle=False,
            verbose=0,
        )
    return [model(features[-N_TEST:]).numpy()]


def with_tensorflow(features: Features, truth: Positions, n_heads: int) -> list[Features]:
    """All heads in one graph: a leading axis for the head."""
    return _together(features, truth, n_heads, xla=False)


def with_xla(features: Features, truth: Positions, n_heads: int) -> list[Features]:
    """The same, fused by the compiler."""
    return _together(features, truth, n_heads, xla=True)


_STEPS: dict[tuple[int, bool], tuple[Any, Any, list[Any]]] = {}
"""A compiled step for each number of heads, so that only the first round compiles."""


def _together(features: Features, truth: Positions, n_heads: int, xla: bool) -> list[Features]:
    drawn = [_drawn(seed) for seed in range(n_heads)]
    if (n_heads, xla) not in _STEPS:
        _STEPS[n_heads, xla] = _compiled(features, truth, n_heads, xla)
    step, answer, variables = _STEPS[n_heads, xla]
    for variable in variables:
        variable.assign(np.zeros(variable.shape, np.float32))
    for i, variable in enumerate(variables[:4]):
        variable.assign(np.stack([np.atleast_2d(head[i]) for head, _ in drawn]))
    n_steps = 0
    for epoch in range(SETTINGS.epochs[0]):
        order = np.stack([orders[epoch] for _, orders in drawn])
        for start in range(0, order.shape[1], SETTINGS.batch_size):
            n_steps += 1
            rate = SETTINGS.learning_rate * (1 - 0.999**n_steps) ** 0.5 / (1 - 0.9**n_steps)
            chosen = np.ascontiguousarray(order[:, start : start + SETTINGS.batch_size])
            step(chosen, np.float32(rate))
        answers = answer().numpy()
    return list(answers)


def _compiled(
    features: Features, truth: Positions, n_heads: int, xla: bool
) -> tuple[Any, Any, list[Any]]:
    import tensorflow as tf

    hidden = SETTINGS.hidden_units
    shapes = [(EMBEDDING, hidden), (1, hidden), (hidden, 3), (1, 3)]
    weights, means, squares = (
        [tf.Variable(tf.zeros((n_heads, *shape))) for shape in shapes] for _ in range(3)
    )
    shown, targets = tf.constant(features), tf.one_hot(truth, 3)

    def forward(batch: Any, pattern: str) -> Any:
        inner = tf.nn.relu(tf.einsum(pattern, batch, weights[0]) + weights[1])
        return tf.einsum("gbh,ghc->gbc", inner, weights[2]) + weights[3]

    @tf.function(jit_compile=xla)  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def step(chosen: Any, rate: Any) -> None:
        with tf.GradientTape() as tape:
            logits = forward(tf.gather(shown, chosen), "gbe,geh->gbh")
            losses = tf.nn.softmax_cross_entropy_with_logits(tf.gather(targets, chosen), logits)
            loss = tf.reduce_sum(tf.reduce_mean(losses, axis=1))
        gradients = tape.gradient(loss, weights)
        for slope, weight, mean, square in zip(gradients, weights, means, squares, strict=True):
            mean.assign_add((slope - mean) * (1 - 0.9))
            square.assign_add((slope * slope - square) * (1 - 0.999))
            weight.assign_sub(rate * mean / (tf.sqrt(square) + 1e-7))

    @tf.function(jit_compile=xla)  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def answer() -> Any:
        return forward(shown[-N_TEST:], "be,geh->gbh")

    return step, answer, [*weights, *means, *squares]


def _drawn(seed: int) -> tuple[list[Features], list[Positions]]:
    """Initial weights and the order of every epoch, as `fit_head` draws them."""
    rng = np.random.default_rng((seed,))
    head = Head(EMBEDDING, SETTINGS.hidden_units, 3, rng).parts
    orders = [draw_pairs(N_TILES - N_TEST, 1, 0, rng)[:, 0] for _ in range(SETTINGS.epochs[0])]
    return [part.copy() for part in head], orders


if __name__ == "__main__":
    raise SystemExit(main())
