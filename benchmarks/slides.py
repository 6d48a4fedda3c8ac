"""Time whole slides from the command to the finished outputs, and compare with their parts.

    .venv/bin/python -m benchmarks.slides
    .venv/bin/python -m benchmarks.slides --write-docs

The slide is drawn: 39,936 x 29,696 px at 1 um per pixel, 609 tissue tiles. Every round runs
`osteo slide` in fp32 and int8, then reads and classifies the same tiles alone, on as many threads.
Peers are not run: they need PyTorch. Their figures come from one earlier comparison, on the same
kind of slide with the same architecture.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.tile import TileHeader
from app.runtime.cores import usable_cores
from app.serving.loading import open_classifier
from app.settings import read_settings
from app.slides.checkpoint import Checkpoint
from app.slides.classify import TileWork, tissue_cells
from app.slides.grid import make_grid
from app.slides.opening import open_slide
from app.slides.run import SlideRun, run_slide
from app.slides.tissue import overview_px, tissue_shares
from app.telemetry.metrics import Metrics
from benchmarks.environments import WORK_DIR
from benchmarks.machine import describe_host
from benchmarks.publish import Benchmark, Results
from benchmarks.tables import render_table
from tests.slides.drawn_slides import Drawing, draw_slide

BENCHMARK: Final = Benchmark("slides", "slides.md", __doc__)
COLUMNS, ROWS, N_TISSUE = 39, 29, 609
MIN_TISSUE_SHARE: Final = 0.1
_POLL_S: Final = 0.02
PRECISIONS: Final = ("fp32", "int8")


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one precision.

    Attributes:
        command_s: from the start of `osteo slide` to its end.
        cpu_s: processor time of the command.
        peak_mb: largest resident memory of the command.
        working_s: reading, classifying and storing the tiles, in this process.
        reading_s: reading the same tiles, and nothing else.
        classifying_s: classifying the same tiles from memory, and nothing else.
    """

    precision: str
    command_s: float
    cpu_s: float
    peak_mb: float
    working_s: float
    reading_s: float
    classifying_s: float

    @property
    def working_share(self) -> float:
        """Time of the parts alone over that of the working phase; 1 is a perfect overlap."""
        return (self.reading_s + self.classifying_s) / self.working_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = BENCHMARK.parser()
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each precision (5)")
    parser.add_argument("--in-a-row", type=int, default=100, help="small slides in a row (100)")
    parser.add_argument("--slide", type=Path, help="another slide than the drawn one")
    return BENCHMARK.run(parser.parse_args(arguments), _measure, render_rounds)


def _measure(options: argparse.Namespace) -> Results:
    path = options.slide or _drawn_slide()
    rounds = []
    for _ in range(options.rounds):
        for precision in PRECISIONS:
            command = _run_command(path, precision)
            parts = _run_parts(path, precision)
            rounds.append(Round(precision, *command, *parts))
            print(rounds[-1], file=sys.stderr)
    return {
        "host": describe_host(),
        "slide_bytes": path.stat().st_size,
        "rounds": [asdict(one) for one in rounds],
        "in_a_row": _run_in_a_row(options.in_a_row),
    }


def _drawn_slide() -> Path:
    """The slide, drawn once."""
    path = WORK_DIR / "slides" / "generic-10x.tif"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        drawing = Drawing(columns=COLUMNS, rows=ROWS, tissue=N_TISSUE / (COLUMNS * ROWS))
        draft = path.with_suffix(".draft")
        draw_slide(draft, drawing)
        draft.replace(path)
    return path


def _run_in_a_row(n_slides: int) -> dict[str, float]:
    """Memory of one process that classifies a small slide many times, in megabytes."""
    if n_slides < 1:
        return {}
    settings = read_settings()
    resident = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.tif"
        draw_slide(path)
        for number in range(n_slides):
            run = SlideRun(path, Path(folder) / str(number))
            run_slide(run, partial(open_classifier, settings, Metrics()))
            resident.append(_resident_mb())
    return {
        "n_slides": n_slides,
        "after_a_tenth_mb": resident[n_slides // 10],
        "after_all_mb": resident[-1],
    }


def _peak_mb(pid: int) -> float:
    """Largest resident memory of a process so far; 0 once it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    peak = next((line for line in lines if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(peak.split()[1]) / 1024


def _resident_mb() -> float:
    n_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return n_pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _run_command(path: Path, precision: str) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak megabytes of `osteo slide`."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "slide", str(path), "-o", folder],
            env=os.environ | {"OSTEO_PRECISION": precision},
            stdout=subprocess.DEVNULL,
        )
        # `ru_maxrss` would begin at the memory of this process, from which the command is forked.
        peak_mb = 0.0
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            peak_mb = max(peak_mb, _peak_mb(process.pid))
            time.sleep(_POLL_S)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"osteo slide ended with {process.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime, peak_mb


def _run_parts(path: Path, precision: str) -> tuple[float, float, float]:
    """Seconds of the working phase, of reading alone and of classifying alone."""
    settings = read_settings(precision=precision)
    n_threads = usable_cores()
    with (
        closing(open_classifier(settings, Metrics())) as classifier,
        closing(open_slide(path)) as source,
        tempfile.TemporaryDirectory() as folder,
    ):
        grid = make_grid(source.facts, classifier.bundle.manifest.input, settings.slide_limits)
        overview = source.read_overview(overview_px(source.facts))
        shares = tissue_shares(overview, source.facts, grid)
        cells = tissue_cells(shares, MIN_TISSUE_SHARE)
        with closing(Checkpoint(Path(folder) / "tiles", "key")) as checkpoint:
            work = TileWork(
                source, classifier, grid, shares, checkpoint, lambda *_: None, lambda: False
            )
            working_s = _timed(lambda: work.classify(cells, n_threads))
        side_px = classifier.bundle.manifest.input.side_px

        def read(cell: tuple[int, int]) -> NDArray[np.uint8]:
            return source.read_square(grid.location_level0(*cell), grid.side_level0, side_px)

        tiles: list[NDArray[np.uint8]] = []
        with ThreadPoolExecutor(n_threads) as pool:
            reading_s = _timed(lambda: tiles.extend(pool.map(read, cells)))
            header = TileHeader("TIFF", round(grid.side_level0), round(grid.side_level0))

            def classify(tile: NDArray[np.uint8]) -> object:
                return classifier.classify_pixels(tile, header)

            classifying_s = _timed(lambda: list(pool.map(classify, tiles)))
    return working_s, reading_s, classifying_s


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def render_rounds(results: Results) -> str:
    """The table of medians, and the peers' figures."""
    rounds = [Round(**one) for one in results["rounds"]]
    rows = []
    for precision in PRECISIONS:
        own = [one for one in rounds if one.precision == precision]

        def median(of: Callable[[Round], float], own: Sequence[Round] = own) -> float:
            return statistics.median(of(one) for one in own)

        rows.append(
            [
                precision,
                f"{median(lambda one: one.command_s):.1f}",
                f"{median(lambda one: one.cpu_s):.1f}",
                f"{max(one.peak_mb for one in own):.0f}",
                f"{median(lambda one: one.working_s):.1f}",
                f"{median(lambda one: one.reading_s):.1f}",
                f"{median(lambda one: one.classifying_s):.1f}",
                f"{median(lambda one: one.working_share):.2f}",
            ]
        )
    header = [
        "precision",
        "command to outputs, s",
        "processor, s",
        "peak memory, MB",
        "working phase, s",
        "reading alone, s",
        "classifying alone, s",
        "parts over phase",
    ]
    host = results["host"]
    megabytes = results["slide_bytes"] / 1e6
    return "\n".join(
        [
            f"A drawn slide of {megabytes:.0f} MB, {N_TISSUE} tissue tiles at 10x, "
            f"{len(rounds) // len(PRECISIONS)} rounds, medians; {host['cpu']}, "
            f"{host['cores']} cores, load {host['load_at_start']} at the start, "
            f"{host['date'][:10]}.",
            "",
            render_table(header, rows),
            "",
            *_memory_lines(results["in_a_row"]),
        ]
    )


def _memory_lines(in_a_row: Mapping[str, float]) -> list[str]:
    if not in_a_row:
        return []
    return [
        f"{in_a_row['n_slides']:.0f} small slides in a row in one process (which also draws them): "
        f"{in_a_row['after_a_tenth_mb']:.0f} MB resident after a tenth of them, "
        f"{in_a_row['after_all_mb']:.0f} MB at the end."
    ]


if __name__ == "__main__":
    sys.exit(main())
