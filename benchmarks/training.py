"""Measure how fast training reads tiles, and how its memory grows with their number.

    .venv/bin/python -m benchmarks.training
    OSTEO_DATA_DIR=/data/tcia .venv/bin/python -m benchmarks.training --write-docs

Rates are medians over rounds, in which all kinds of work take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.core.tile import decode_tile
from app.runtime.cores import usable_cores
from benchmarks.machine import describe_host
from benchmarks.publish import Benchmark, Results
from benchmarks.tables import render_table
from benchmarks.tiles import TILES_HELP, collect_tiles
from benchmarks.training_memory import FILE_SIDE_PX, NETWORK_SIDE_PX, index_of, measure_memory
from training.augmentation.views import AugmentConfig
from training.data.tiles import TileStream, in_order
from training.features.extract import as_function, cache_features
from training.networks.architecture import MINUS_ONE_TO_ONE
from training.networks.graphs import build_backbone, build_pooled

BENCHMARK: Final = Benchmark("training", "scale.md", __doc__)
_N_DECODED: Final = 400
"""Tiles per round; if there are fewer files, they are used repeatedly."""

Work = Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = BENCHMARK.parser()
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (5)")
    parser.add_argument("--tiles", type=Path, help=TILES_HELP)
    parser.add_argument(
        "--n-tiles",
        type=int,
        nargs="*",
        default=[1_000, 10_000, 100_000],
        help="numbers of tiles whose memory is measured (1000 10000 100000)",
    )
    return BENCHMARK.run(parser.parse_args(arguments), _measure, render_report)


def _measure(options: argparse.Namespace) -> Results:
    what, files = collect_tiles(options.tiles)
    return {
        "machine": describe_host(),
        "tiles": what,
        "rates": measure_rates(files, options.rounds),
        "memory": measure_memory(options.n_tiles),
    }


def measure_rates(files: Sequence[Path], n_rounds: int) -> list[dict[str, Any]]:
    """Measure tiles per second of decoding in several ways, of the backbone, and of both."""
    files = [files[i % len(files)] for i in range(_N_DECODED)]
    stream = TileStream(index_of(files, len(files)), Path("/"))
    pooled = build_pooled(build_backbone("none"))
    infer = as_function(pooled)
    n_cores = usable_cores()
    first = stream[0]
    batch = MINUS_ONE_TO_ONE.apply(np.stack([first] * 32))
    original = AugmentConfig(n_views=0)
    works: dict[str, Work] = {
        "decode, one thread": lambda: _run_through(in_order(stream.__getitem__, len(files), 1)),
        f"decode, {n_cores} threads": lambda: _run_through(iter(stream)),
        f"decode, {n_cores} processes": lambda: _decode_in_processes(files, n_cores),
        "decode, tf.data": lambda: _decode_in_tf_data(stream, n_cores),
        "frozen MobileNetV2, tiles in memory": lambda: [
            infer(batch) for _ in range(0, len(files), len(batch))
        ],
        "both: what `fit` does": lambda: cache_features(pooled, stream, original, 0),
    }
    n_infer = len(batch) * len(range(0, len(files), len(batch)))
    rates: dict[str, list[tuple[float, float, float]]] = {name: [] for name in works}
    for round_ in range(-1, n_rounds):
        for name, work in works.items():
            n_tiles = n_infer if "memory" in name else len(files)
            started, cpu_started = time.perf_counter(), _cpu_s()
            work()
            wall_s = time.perf_counter() - started
            cpu_s = _cpu_s() - cpu_started
            if round_ >= 0:  # the first round fills caches and traces graphs
                busy = cpu_s / (wall_s * n_cores)
                rates[name].append((n_tiles / wall_s, busy, 1000 * cpu_s / n_tiles))
    return [
        {
            "what": name,
            "tiles_per_s": statistics.median(rate for rate, _, _ in measured),
            "busy": statistics.median(busy for _, busy, _ in measured),
            # Other work on the machine takes from the rates, and hardly adds to this.
            "cpu_ms": statistics.median(cpu_ms for _, _, cpu_ms in measured),
        }
        for name, measured in rates.items()
    ]


def render_report(results: Results) -> str:
    """Render both tables and the conditions of the measurement as Markdown."""
    machine = results["machine"]
    rates = [
        [
            entry["what"],
            f"{entry['tiles_per_s']:.0f}",
            f"{100 * entry['busy']:.0f} %",
            f"{entry['cpu_ms']:.1f}",
        ]
        for entry in results["rates"]
    ]
    memory = [
        [
            f"{entry['n_tiles']:,}",
            f"{entry['seconds']:.0f}",
            f"{entry['peak_mib']:.0f}",
            f"{entry['peak_mib'] - entry['started_mib']:+.0f}",
            f"{entry['features_mib']:.0f}" + (" (on disk)" if entry["on_disk"] else ""),
            f"{entry['all_at_once_mib']:,.0f}",
        ]
        for entry in results["memory"]
    ]
    header = ["tiles", "seconds", "peak (MiB)", "since start", "features (MiB)", "all tiles (MiB)"]
    return "\n\n".join(
        [
            f"Measured {machine['date']} on {machine['cores']} cores ({machine['cpu']}), load "
            f"{machine['load_at_start']} at start. Tiles: {results['tiles']}.",
            render_table(["work", "tiles/s", "cores busy", "CPU (ms per tile)"], rates),
            f"Anonymous memory of the process for drawn tiles of {FILE_SIDE_PX} px through "
            f"MobileNetV2 at {NETWORK_SIDE_PX} px. The last column is the size of all tiles in "
            "memory at 224 px.",
            render_table(header, memory),
        ]
    )


def _run_through(items: Any) -> None:
    for _ in items:
        pass


def _decode_file(file: Path) -> Any:
    return decode_tile(file.read_bytes())


def _decode_in_processes(files: Sequence[Path], n_processes: int) -> None:
    with ProcessPoolExecutor(n_processes) as pool:
        _run_through(pool.map(_decode_file, files, chunksize=8))


def _decode_in_tf_data(stream: TileStream, n_parallel: int) -> None:
    import tensorflow

    dataset = tensorflow.data.Dataset.range(len(stream)).map(
        lambda i: tensorflow.numpy_function(lambda k: stream[int(k)], [i], tensorflow.uint8),
        num_parallel_calls=n_parallel,
    )
    _run_through(dataset.prefetch(16).as_numpy_iterator())


def _cpu_s() -> float:
    """CPU seconds of this process and its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    sys.exit(main())
