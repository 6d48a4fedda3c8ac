"""Peak memory of a frozen backbone over many tiles, each number of tiles in its own process.

The tiles are 500 small drawn files, which an index lists repeatedly. `benchmarks.training` reports
the measurements; `python -m benchmarks.training_memory N_TILES FOLDER` makes one of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.environments import REPOSITORY
from training.augmentation.views import AugmentConfig
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import Index, IndexedTile
from training.data.labels import LABEL_IDS
from training.data.tiles import TileStream
from training.features.extract import cache_features
from training.networks.graphs import build_backbone, build_pooled

FILE_SIDE_PX: Final = 128
NETWORK_SIDE_PX: Final = 32
_N_FILES: Final = 500
_MIB: Final = 2**20


def measure_memory(numbers_of_tiles: Sequence[int]) -> list[dict[str, Any]]:
    """Measure peak memory and time for each number of tiles."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(_N_FILES):
            tile = draw_tile(LABEL_IDS[seed % len(LABEL_IDS)], FILE_SIDE_PX, seed)
            (Path(folder) / f"{seed}.jpg").write_bytes(encode_tile(tile, "JPEG"))
        measured = []
        for n_tiles in numbers_of_tiles:
            command = [sys.executable, "-m", "benchmarks.training_memory", str(n_tiles), folder]
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, cwd=REPOSITORY
            )
            measured.append(json.loads(done.stdout))
        return measured


def index_of(files: Sequence[Path], n_tiles: int) -> Index:
    """Build an index that lists the files repeatedly until it has `n_tiles`."""
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


def _measure_here(n_tiles: int, folder: Path) -> dict[str, Any]:
    """Run the backbone over `n_tiles` in this process and sample its memory."""
    files, original = sorted(folder.glob("*.jpg")), AugmentConfig(n_views=0)
    pooled = build_pooled(build_backbone("none", side_px=NETWORK_SIDE_PX))
    few, many = (TileStream(index_of(files, n), Path("/"), NETWORK_SIDE_PX) for n in (64, n_tiles))
    cache_features(pooled, few, original, 0)  # traces the graph
    before_mib, peak_mib, stopped = _anonymous_mib(), 0.0, threading.Event()

    def sample() -> None:
        nonlocal peak_mib
        while not stopped.wait(0.2):
            peak_mib = max(peak_mib, _anonymous_mib())

    sampler = threading.Thread(target=sample)
    sampler.start()
    started = time.perf_counter()
    features = cache_features(pooled, many, original, 0)
    seconds = time.perf_counter() - started
    stopped.set()
    sampler.join()
    return {
        "n_tiles": n_tiles,
        "seconds": seconds,
        "started_mib": before_mib,
        "peak_mib": max(peak_mib, _anonymous_mib()),
        "features_mib": features.nbytes / _MIB,
        "on_disk": isinstance(features, np.memmap),
        "all_at_once_mib": n_tiles * 224 * 224 * 3 / _MIB,
    }


def _anonymous_mib() -> float:
    """Memory of this process that is not backed by a file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    print(json.dumps(_measure_here(int(sys.argv[1]), Path(sys.argv[2]))))
