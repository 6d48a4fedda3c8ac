"""`osteo classify FOLDER`: tiles per second with and without the start-up time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import REPOSITORY
from benchmarks.tiles import link_folder


@dataclass(frozen=True, slots=True)
class FolderRun:
    """One run of the command.

    Attributes:
        n_tiles: files in the folder.
        wall_s: duration of the whole command.
        start_s: duration on a folder of one tile: start of Python, loading and checking the model.
        tiles_per_s: `n_tiles` over `wall_s`.
        steady_tiles_per_s: tiles per second excluding `start_s`.
    """

    n_tiles: int
    wall_s: float
    start_s: float
    tiles_per_s: float
    steady_tiles_per_s: float


def classify_folder(files: Sequence[Path], n_tiles: int) -> FolderRun:
    """Time `osteo classify` on a folder of `n_tiles` tiles.

    Raises:
        RuntimeError: the command failed.
    """
    start_s = _time_command(link_folder(files, 1))
    wall_s = _time_command(link_folder(files, n_tiles))
    # On a noisy machine starting may take longer than a short run; the rate must stay positive.
    steady_s = max(wall_s - start_s, 1e-3)
    return FolderRun(n_tiles, wall_s, start_s, n_tiles / wall_s, (n_tiles - 1) / steady_s)


def _time_command(folder: Path) -> float:
    command = [sys.executable, "-m", "app", "classify", str(folder), "--format", "csv"]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"OSTEO_RUNTIME": "litert"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"osteo classify failed: {done.stderr.strip()[-400:]}")
    return time.perf_counter() - started
