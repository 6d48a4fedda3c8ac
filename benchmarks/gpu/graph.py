"""Run the graph alone in a loop, on tiles that are decoded already: one mode in one process.

TensorFlow keeps its options for the life of a process, so `benchmarks.gpu` starts this program once
for each mode. It prints one JSON object per line as it goes, so a crash loses little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.bundle import Bundle, find_bundle, open_bundle
from app.core.calibration import probabilities_from_logits
from app.core.errors import InferenceError
from app.core.tile import decode_tile
from app.runtime.protocol import Runtime
from app.runtime.select import open_runtime
from app.settings import read_settings
from benchmarks.gpu.card import used_memory_mib
from benchmarks.tiles import collect_tiles

Tiles = NDArray[np.uint8]

_MIN_CALLS: Final = 3
_COMPARED_BATCH: Final = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.graph", description=__doc__)
    parser.add_argument("--runtime", choices=("litert", "savedmodel"), default="savedmodel")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--tiles", type=Path)
    parser.add_argument("--mixed-precision", action="store_true")
    parser.add_argument("--xla", action="store_true")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    options = parser.parse_args(arguments)
    for line in measure(options):
        print(json.dumps(line), flush=True)
    return 0


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what the runtime is, each batch size, and the difference from LiteRT."""
    settings = read_settings()
    bundle = open_bundle(
        find_bundle(settings.models_dir, settings.model_name, settings.model_version)
    )
    tiles = _decoded(options.tiles, bundle)
    started = time.perf_counter()
    runtime = open_runtime(
        bundle, options.runtime, mixed_precision=options.mixed_precision, xla=options.xla
    )
    load_s = time.perf_counter() - started
    yield {"device": runtime.device, "precision": runtime.precision, "load_s": load_s}
    for size in options.sizes:
        for n_threads in options.threads:
            yield _time_batches(runtime, _batches(tiles, size), n_threads, options.seconds)
    yield {"memory_mib": used_memory_mib()}
    yield _compare(bundle, runtime, tiles)


def _decoded(folder: Path | None, bundle: Bundle) -> Tiles:
    _, files = collect_tiles(folder)
    side_px = bundle.manifest.input.side_px
    return np.stack([decode_tile(file.read_bytes(), side_px=side_px) for file in files])


def _batches(tiles: Tiles, size: int) -> list[Tiles]:
    """Different batches, so that no cache holds the input of the next call."""
    return [
        np.ascontiguousarray(tiles[np.arange(start, start + size) % len(tiles)])
        for start in range(0, 4 * size, size)
    ]


def _time_batches(
    runtime: Runtime, batches: Sequence[Tiles], n_threads: int, seconds: float
) -> dict[str, Any]:
    """Call the runtime in a loop on each thread, after one call that tunes or compiles."""
    started = time.perf_counter()
    runtime.infer(batches[0])
    first_s = time.perf_counter() - started
    runtime.infer(batches[1])
    times_s: list[list[float]] = [[] for _ in range(n_threads)]
    begin = time.perf_counter()

    def work(own: list[float]) -> None:
        while len(own) < _MIN_CALLS or time.perf_counter() - begin < seconds:
            called = time.perf_counter()
            runtime.infer(batches[len(own) % len(batches)])
            own.append(time.perf_counter() - called)

    threads = [threading.Thread(target=work, args=(own,)) for own in times_s]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - begin
    all_s = [called for own in times_s for called in own]
    return {
        "size": len(batches[0]),
        "threads": n_threads,
        "first_s": first_s,
        "tiles_per_s": len(all_s) * len(batches[0]) / elapsed_s,
        "p50_ms": statistics.median(all_s) * 1e3,
    }


def _compare(bundle: Bundle, runtime: Runtime, tiles: Tiles) -> dict[str, Any]:
    """The largest difference of a probability from LiteRT fp32 on the CPU, and changed labels."""
    reference = open_runtime(bundle, "litert", n_workers=1)
    try:
        expected, found = (_probabilities(bundle, each, tiles) for each in (reference, runtime))
    except InferenceError:  # a logit is not a finite number; half precision may overflow
        return {"n_compared": len(tiles), "not_finite": True}
    return {
        "n_compared": len(tiles),
        "max_probability_difference": float(np.abs(expected - found).max()),
        "n_changed_labels": int((expected.argmax(1) != found.argmax(1)).sum()),
    }


def _probabilities(bundle: Bundle, runtime: Runtime, tiles: Tiles) -> NDArray[np.float32]:
    logits = [
        runtime.infer(tiles[np.arange(start, start + _COMPARED_BATCH) % len(tiles)]).logits
        for start in range(0, len(tiles), _COMPARED_BATCH)
    ]
    probabilities: NDArray[np.float32] = probabilities_from_logits(
        np.concatenate(logits)[: len(tiles)], bundle.manifest.temperature
    )
    return probabilities


if __name__ == "__main__":
    sys.exit(main())
