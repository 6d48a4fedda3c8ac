"""The in-process limit: decoding and LiteRT on one thread per core, without HTTP or the service.

It shares `decode_tile` with the service but opens its own interpreters, so that it measures the
limit of the machine rather than of the service's runtime.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from app.core.manifest import Manifest
from app.core.tile import decode_tile
from app.runtime.cores import usable_cores


@dataclass(frozen=True, slots=True)
class Limit:
    """Tiles per second on all cores, and the median time of one tile on one thread."""

    tiles_per_s: float
    one_tile_ms: float


class InProcess:
    """Interpreters of one model file, one per core, and encoded tiles."""

    def __init__(self, model_file: Path, manifest: Manifest, files: Sequence[Path]) -> None:
        """Open the interpreters and run each once."""
        from ai_edge_litert.interpreter import Interpreter

        self._uploads = [file.read_bytes() for file in files]
        self._manifest = manifest
        self._workers: list[_Worker] = []
        for _ in range(usable_cores()):
            worker = _Worker(Interpreter(model_path=str(model_file), num_threads=1))
            worker.logits(self._decode(self._uploads[0]))
            self._workers.append(worker)

    def measure(self, seconds: float) -> Limit:
        """Measure both values in about `seconds`."""
        return Limit(self._tiles_per_s(seconds * 0.7), self._one_tile_ms(seconds * 0.3))

    def probabilities(self, n_tiles: int) -> NDArray[np.float32]:
        """Probabilities of the first tiles, float32 `[n_tiles, C]`."""
        worker = self._workers[0]
        logits = [worker.logits(self._decode(tile_bytes)) for tile_bytes in self._uploads[:n_tiles]]
        return probabilities_from_logits(np.concatenate(logits), self._manifest.temperature)

    def _tiles_per_s(self, seconds: float) -> float:
        counts = [0] * len(self._workers)
        started = time.perf_counter()

        def work(i: int) -> None:
            while time.perf_counter() - started < seconds:
                tile_bytes = self._uploads[(i + counts[i] * len(counts)) % len(self._uploads)]
                self._workers[i].logits(self._decode(tile_bytes))
                counts[i] += 1

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(counts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / (time.perf_counter() - started)

    def _one_tile_ms(self, seconds: float) -> float:
        times_s: list[float] = []
        deadline = time.perf_counter() + seconds
        while not times_s or time.perf_counter() < deadline:
            started = time.perf_counter()
            tile_bytes = self._uploads[len(times_s) % len(self._uploads)]
            self._workers[0].logits(self._decode(tile_bytes))
            times_s.append(time.perf_counter() - started)
        return statistics.median(times_s) * 1e3

    def _decode(self, tile_bytes: bytes) -> NDArray[np.uint8]:
        return decode_tile(tile_bytes, side_px=self._manifest.input.side_px)


class _Worker:
    """One interpreter: uint8 `[side, side, 3]` RGB -> logits float32 `[1, C]`."""

    def __init__(self, interpreter: Any) -> None:
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner("serving_default")
        (tiles,) = runner.get_input_details().values()
        self._interpreter = interpreter
        self._input_index: int = tiles["index"]
        self._logits_index: int = runner.get_output_details()["logits"]["index"]

    def logits(self, tile: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input_index, tile[np.newaxis])
        self._interpreter.invoke()
        logits: NDArray[np.float32] = self._interpreter.get_tensor(self._logits_index)
        return logits
