"""How fast training reads tiles, and what memory that takes as the tiles become many.

    python -m benchmarks.training
    OSTEO_DATA_DIR=/data/tcia python -m benchmarks.training --write-docs

Rates are medians of rounds in turn. Memory is that of a process of its own for each number of
tiles: small drawn tiles, of which there are 500 files that an index names again and again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.core.errors import OsteoError
from app.core.tile import decode_tile
from app.runtime.cores import usable_cores
from benchmarks.environments import REPOSITORY
from benchmarks.machine import describe_host
from benchmarks.report import replace_between_markers
from benchmarks.tables import render_table
from benchmarks.tiles import collect_tiles
from training.augmentation.views import AugmentConfig
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import Index, IndexedTile
from training.data.labels import LABEL_IDS
from training.data.tiles import TileStream, in_order
from training.features.extract import as_function, cache_features
from training.networks.architecture import MINUS_ONE_TO_ONE
from training.networks.graphs import build_backbone, build_pooled

RESULTS_FILE: Final = REPOSITORY / "benchmarks" / "results" / "training.json"
DOCS_PAGE: Final = REPOSITORY / "docs" / "scale.md"
_N_DECODED: Final = 400
"""Tiles of one round; where there are fewer files they are taken again."""
_N_FILES: Final = 500
_FILE_SIDE_PX: Final = 128
_MEMORY_SIDE_PX: Final = 32
_MIB: Final = 2**20

Work = Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each rate (5)")
    parser.add_argument("--tiles", type=Path, help="folder of tiles [OSTEO_DATA_DIR, else drawn]")
    parser.add_argument("--n-tiles", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--output", type=Path, default=RESULTS_FILE, help="results file")
    parser.add_argument("--write-docs", action="store_true", help="renew docs/scale.md")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--files", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.memory_of:
        print(json.dumps(memory_of(options.memory_of, options.files)))
        return 0
    try:
        what, files = collect_tiles(options.tiles)
        results: dict[str, Any] = {"machine": describe_host(), "tiles": what}
        results["rates"] = measure_rates(files, options.rounds)
        results["memory"] = measure_memory(options.n_tiles)
    except (OsteoError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    report = render_report(results)
    print(report)
    if options.write_docs:
        DOCS_PAGE.write_text(replace_between_markers(DOCS_PAGE.read_text(), report, "training"))
    return 0


def measure_rates(files: Sequence[Path], n_rounds: int) -> list[dict[str, Any]]:
    """Tiles a second of decoding in several ways, of the network, and of both together."""
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
            if round_ >= 0:  # the first fills caches and traces graphs
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


def measure_memory(n_tiles: Sequence[int]) -> list[dict[str, Any]]:
    """Peak memory and time of the frozen network over so many tiles, a process each."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(_N_FILES):
            tile = draw_tile(LABEL_IDS[seed % len(LABEL_IDS)], _FILE_SIDE_PX, seed)
            (Path(folder) / f"{seed}.jpg").write_bytes(encode_tile(tile, "JPEG"))
        command = [sys.executable, "-m", "benchmarks.training", "--files", folder, "--memory-of"]
        measured = []
        for n in n_tiles:
            done = subprocess.run(
                [*command, str(n)], capture_output=True, text=True, check=True, cwd=REPOSITORY
            )
            measured.append(json.loads(done.stdout))
        return measured


def memory_of(n_tiles: int, folder: Path) -> dict[str, Any]:
    """Run the frozen network over `n_tiles` in this process and watch its memory."""
    files, original = sorted(folder.glob("*.jpg")), AugmentConfig(n_views=0)
    pooled = build_pooled(build_backbone("none", side_px=_MEMORY_SIDE_PX))
    few, many = (TileStream(index_of(files, n), Path("/"), _MEMORY_SIDE_PX) for n in (64, n_tiles))
    cache_features(pooled, few, original, 0)  # traces the graph
    before_mib, peak_mib, stopped = _anonymous_mib(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak_mib
        while not stopped.wait(0.2):
            peak_mib = max(peak_mib, _anonymous_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    features = cache_features(pooled, many, original, 0)
    seconds = time.perf_counter() - started
    stopped.set()
    watcher.join()
    return {
        "n_tiles": n_tiles,
        "seconds": seconds,
        "started_mib": before_mib,
        "peak_mib": max(peak_mib, _anonymous_mib()),
        "features_mib": features.nbytes / _MIB,
        "on_disk": isinstance(features, np.memmap),
        "all_at_once_mib": n_tiles * 224 * 224 * 3 / _MIB,
    }


def index_of(files: Sequence[Path], n_tiles: int) -> Index:
    """An index that names files again and again until there are `n_tiles`."""
    tiles = tuple(
        IndexedTile(
            name=f"Case 3 A1-{i}-0",
            file=str(files[i % len(files)].absolute()),
            sha256="0" * 64,
            case="Case 3",
            slide="Case 3 A1",
            x=i,
            y=0,
            raw_label="Viable",
            label="viable_tumor",
        )
        for i in range(n_tiles)
    )
    return Index(mixed_tiles="viable", table="none", table_sha256="0" * 64, tiles=tiles)


def render_report(results: dict[str, Any]) -> str:
    """Both tables, and where they were measured."""
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
    header = ["tiles", "seconds", "peak (MiB)", "since start", "features (MiB)", "at once (MiB)"]
    return "\n\n".join(
        [
            f"{machine['date']}, {machine['cores']} cores ({machine['cpu']}), load at the start "
            f"{machine['load_at_start']}. Tiles: {results['tiles']}.",
            render_table(["", "tiles/s", "cores busy", "CPU (ms a tile)"], rates),
            f"Memory that is the process' own, over drawn tiles of {_FILE_SIDE_PX} px through "
            f"MobileNetV2 at {_MEMORY_SIDE_PX} px; the last column is what the tiles would take "
            "at 224 px all at once.",
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
    """Of this process and of those it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _anonymous_mib() -> float:
    """Memory of this process that no file can take back."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
