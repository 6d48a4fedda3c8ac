"""Measure what caching the features of a frozen backbone saves when training heads.

    .venv/bin/python -m benchmarks.study
    OSTEO_WEIGHTS=mobilenet_v2.h5 .venv/bin/python -m benchmarks.study --write-docs

The tiles are drawn, each blended with a tile of another label, so that not all can be classified.
Both ways train the same head on the same tiles in the same order from the same initial weights. One
reads cached features; the other runs every batch through the frozen backbone in one compiled Keras
step, as a notebook does. The latter has its tiles decoded in memory, which favours it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.machine import describe_host
from benchmarks.publish import Benchmark, Results
from benchmarks.tables import render_table
from training.data.drawn_tiles import draw_tile
from training.data.labels import LABEL_IDS
from training.experiments.study.head import Head, HeadSettings, Positions, draw_pairs, fit_head
from training.features.extract import as_function
from training.features.store import Features, FeatureSpace, FeatureStore, fill, row_key
from training.networks.graphs import build_backbone, build_pooled, weights_sha256
from training.networks.registry import DEFAULT_SYSTEM

BENCHMARK: Final = Benchmark("study", "study.md", __doc__)
GOAL_S: Final = 5.0
GOAL_RATIO: Final = 50.0
GOAL_POINTS: Final = 1.0
_BATCH: Final = 32
_BLEND: Final = (0.2, 0.5)
"""Share of the other label's tile; below a half, so that every label can be learnt."""
_RATE: Final = 1e-3

Tiles = NDArray[np.uint8]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = BENCHMARK.parser()
    parser.add_argument("--tiles", type=int, default=1144, help="number of drawn tiles (1144)")
    parser.add_argument("--epochs", type=int, default=30, help="epochs of each run (30)")
    parser.add_argument("--repeats", type=int, default=5, help="runs from the cache (5)")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return BENCHMARK.run(parser.parse_args(arguments), _measure, render)


def _measure(options: argparse.Namespace) -> Results:
    """Fill a cache, train from it, then through the backbone; test on a tenth of the tiles."""
    import keras

    weights, n_tiles = os.environ.get("OSTEO_WEIGHTS", "none"), options.tiles
    results: Results = {"machine": describe_host(), "n_tiles": n_tiles, "epochs": options.epochs}
    tiles, truth = draw_blended(n_tiles)
    order = np.random.default_rng(0).permutation(n_tiles)
    n_test = round(n_tiles / 10)
    train, test = order[n_test:], order[:n_test]
    keras.utils.set_random_seed(0)
    pooled = build_pooled(build_backbone(weights))
    settings = HeadSettings(_RATE, (options.epochs,), _BATCH)
    with tempfile.TemporaryDirectory() as folder:
        space = FeatureSpace(DEFAULT_SYSTEM.name, weights_sha256(weights) or weights, 224)
        keys = [row_key(str(number)) for number in range(n_tiles)]
        infer = as_function(pooled)
        started = time.perf_counter()
        fill(
            FeatureStore(Path(folder), space),
            keys,
            lambda chosen: _in_batches(infer, tiles[chosen]),
        )
        results["fill_s"] = time.perf_counter() - started
        cached = [
            _run_cached(Path(folder), space, keys, truth, train, test, settings)
            for _ in range(options.repeats)
        ]
        results["cache_mib"] = sum(f.stat().st_size for f in Path(folder).rglob("*.chunk")) / 2**20
    results["cached_s"] = [seconds for seconds, _ in cached]
    results["cached_accuracy"] = cached[0][1]
    results["weights"] = "none" if weights == "none" else "ImageNet"
    seconds, accuracy = _run_through_base(pooled, tiles, truth, train, test, settings)
    return results | {
        "base_s": seconds,
        "base_accuracy": accuracy,
        "n_train": len(train),
        "n_test": len(test),
        "blend": _BLEND,
        "load_at_end": round(os.getloadavg()[0], 2),
    }


def draw_blended(n_tiles: int) -> tuple[Tiles, Positions]:
    """Draw tiles, uint8 `[n, 224, 224, 3]` RGB, blended with another label's, and class indices."""
    rng = np.random.default_rng(0)
    truth = np.arange(n_tiles) % len(LABEL_IDS)
    tiles = np.empty((n_tiles, 224, 224, 3), dtype=np.uint8)
    for number, label in enumerate(truth):
        other = (label + rng.integers(1, len(LABEL_IDS))) % len(LABEL_IDS)
        share = rng.uniform(*_BLEND)
        mine = draw_tile(LABEL_IDS[label], 224, number).astype(np.float32)
        theirs = draw_tile(LABEL_IDS[other], 224, n_tiles + number).astype(np.float32)
        tiles[number] = np.rint((1 - share) * mine + share * theirs)
    return tiles, truth


def render(results: Results) -> str:
    """Render the table and the goals as Markdown."""
    cached_s, base_s = statistics.median(results["cached_s"]), results["base_s"]
    cached, base = results["cached_accuracy"], results["base_accuracy"]
    gap = max(abs(a - b) for a, b in zip(cached, base, strict=True)) * 100
    rows = [
        [
            "from the cache, including opening and checking it",
            f"{cached_s:.2f}",
            _percent(cached[-1]),
        ],
        ["through the frozen backbone in every epoch", f"{base_s:.1f}", _percent(base[-1])],
    ]
    ratio = base_s / cached_s
    n_epochs = results["epochs"]
    goals = [
        [f"seconds of {n_epochs} epochs", f"{cached_s:.2f}", f"at most {GOAL_S:g}"],
        ["times faster", f"{ratio:.0f}", f"at least {GOAL_RATIO:g}"],
        ["largest gap of test accuracies, points", f"{gap:.2f}", f"at most {GOAL_POINTS:g}"],
    ]
    met = (cached_s <= GOAL_S, ratio >= GOAL_RATIO, gap <= GOAL_POINTS)
    goals = [[*goal, "yes" if is_met else "no"] for goal, is_met in zip(goals, met, strict=True)]
    machine, (low, high) = results["machine"], results["blend"]
    title = f"{results['epochs']} epochs on {results['n_train']} of {results['n_tiles']} tiles"
    return "\n\n".join(
        [
            render_table([title, "seconds", "test accuracy"], rows),
            render_table(["goal", "measured", "wanted", "met"], goals),
            f"Drawn tiles, each blended with {low:.0%} to {high:.0%} of another label's; "
            f"{results['n_test']} test tiles; "
            f"{DEFAULT_SYSTEM.title} ({results['weights']} weights), batch {_BATCH}, "
            f"learning rate {_RATE:g}, the same initial weights and order both ways. Filling the "
            f"cache once took {results['fill_s']:.0f} s ({results['cache_mib']:.1f} MiB). "
            f"Measured {machine['date']} on {machine['cores']} cores ({machine['cpu']}), Python "
            f"{machine['python']}; load {machine['load_at_start']} at start, "
            f"{results['load_at_end']} at the end. `make bench-study` repeats the measurement.",
        ]
    )


def _run_cached(
    folder: Path,
    space: FeatureSpace,
    keys: list[bytes],
    truth: Positions,
    train: Positions,
    test: Positions,
    settings: HeadSettings,
) -> tuple[float, list[float]]:
    """Train from the cache; return the seconds, including opening it, and accuracy by epoch."""
    started = time.perf_counter()
    features = FeatureStore(folder, space).read(keys)[:, None, :]
    with threadpool_limits(1, user_api="blas"):
        fitted = fit_head(features, truth, train, test, settings)
    seconds = time.perf_counter() - started
    return seconds, (fitted.answers == truth[test]).mean(axis=1).tolist()


def _run_through_base(
    pooled: Any,
    tiles: Tiles,
    truth: Positions,
    train: Positions,
    test: Positions,
    settings: HeadSettings,
) -> tuple[float, list[float]]:
    """Train with every batch run through the frozen backbone; return as `_run_cached`."""
    import keras
    import tensorflow

    size = pooled.output_shape[-1]
    shape = size, settings.hidden_units, settings.n_classes
    # Drawn like in `fit_head`, so that both use the same initial weights and batches.
    rng = np.random.default_rng(settings.seed)
    initial = Head(*shape, rng).parts
    dense = keras.layers.Dense
    head = keras.Sequential(
        [keras.layers.Input((size,)), dense(shape[1], activation="relu"), dense(shape[2])]
    )
    head.set_weights(initial)
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build(head.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tensorflow.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def step(shown: Any, labels: Any) -> None:
        features = pooled(shown, training=False)
        with tensorflow.GradientTape() as tape:
            loss = loss_of(labels, head(features, training=True))
        gradients = tape.gradient(loss, head.trainable_variables)
        optimizer.apply(gradients, head.trainable_variables)

    answer = as_function(keras.Model(pooled.input, head(pooled.output)))
    accuracy = []
    started = time.perf_counter()
    for epoch in range(max(settings.epochs)):
        pairs = draw_pairs(len(train), 1, 0, rng)[:, 0]
        for first in range(0, len(pairs), _BATCH):
            chosen = train[pairs[first : first + _BATCH]]
            step(scaled(tiles[chosen]), truth[chosen])
        answers = _in_batches(answer, tiles[test]).argmax(axis=1)
        accuracy.append(float((answers == truth[test]).mean()))
        spent = time.perf_counter() - started
        print(f"through the backbone: epoch {epoch + 1}, {spent:.0f} s", file=sys.stderr)
    return time.perf_counter() - started, accuracy


def _in_batches(infer: Any, tiles: Tiles) -> Features:
    batches = [tiles[first : first + _BATCH] for first in range(0, len(tiles), _BATCH)]
    return np.concatenate([infer(scaled(batch)) for batch in batches])


def scaled(tiles: Tiles) -> Features:
    """Scale tiles for the default system's backbone, float32."""
    return DEFAULT_SYSTEM.scaling.apply(tiles)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    raise SystemExit(main())
