"""Measure the SavedModel runtime on a GPU, alone and behind the service, against the CPU path.

    OSTEO_DATA_DIR=/data/tcia .venv/bin/python -m benchmarks.gpu --write-docs
    .venv/bin/python -m benchmarks.gpu --quick
    .venv/bin/python -m benchmarks.gpu --report-only --write-docs

It needs TensorFlow (requirements/gpu.lock), `wrk` and an NVIDIA driver. Without a GPU it measures
the same on the CPU, which shows that it works and nothing else. Each part runs in a process of its
own and is written to the results file when it ends; parts that the time does not allow are skipped
and named in the report. The most important ones run first.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from app.bundle import Bundle, find_bundle, open_bundle
from app.settings import read_settings
from benchmarks.environments import WORK_DIR
from benchmarks.gpu.card import describe_card
from benchmarks.gpu.report import render_gpu
from benchmarks.gpu.service import CPU, DEFAULT, OTHERS, Bodies, measure_setup, measure_start
from benchmarks.machine import describe_host
from benchmarks.publish import Benchmark, Results
from benchmarks.tiles import TILES_HELP, collect_tiles
from benchmarks.wrk import find_wrk

BENCHMARK: Final = Benchmark("gpu", "gpu.md", __doc__)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_COMPILED_SIZES: Final = (1, 8, 32, 128)
_QUICK_SIZES: Final = (1, 4)
_CLIENTS: Final = (1, 16, 64, 256)
_QUICK_CLIENTS: Final = (2,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = BENCHMARK.parser()
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tiles", type=Path, help=TILES_HELP)
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds per load (3)")
    parser.add_argument(
        "--budget-s", type=float, default=600.0, help="start no part after this many seconds (600)"
    )
    parser.add_argument("--quick", action="store_true", help="few batch sizes, short loads")
    parser.add_argument("--report-only", action="store_true", help="report the results file again")
    options = parser.parse_args(arguments)
    return BENCHMARK.run(options, _read if options.report_only else _measure, render_gpu)


@dataclass(slots=True)
class Run:
    """The parts of one run and what they have found so far."""

    options: argparse.Namespace
    bundle: Bundle
    bodies: Bodies
    results: Results
    started: float = field(default_factory=time.monotonic)

    def part(self, name: str, work: Callable[[], None]) -> None:
        """Do one part if there is time; a failure is noted and ends only this part."""
        elapsed_s = time.monotonic() - self.started
        if elapsed_s > self.options.budget_s:
            self.results["notes"].append(f"{name}: not measured, the time was over.")
            return
        print(f"{elapsed_s:4.0f} s: {name}", file=sys.stderr, flush=True)
        try:
            work()
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            self.results["notes"].append(f"{name}: not measured: {error}")
        self._write()

    def graph(self, name: str, *arguments: str) -> None:
        """Run the graph alone in a process of its own."""
        options = self.options
        command = [sys.executable, "-m", "benchmarks.gpu.graph", *arguments]
        command += ["--seconds", str(min(0.7, options.seconds / 4))]
        if options.tiles:
            command += ["--tiles", str(options.tiles)]
        entry: dict[str, Any] = {"name": name, "batches": []}
        self.results["graphs"].append(entry)
        log = WORK_DIR / "logs" / "gpu-graph.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with (
            log.open("w") as errors,
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=self._environment()
            ) as process,
        ):
            for line in process.stdout or ():
                found = json.loads(line)
                if "size" in found:
                    entry["batches"].append(found)
                else:
                    entry.update(found)
        if process.returncode:
            raise RuntimeError(log.read_text(errors="replace").strip()[-800:])

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.results["environment"]}

    def _write(self) -> None:
        rates = [
            load["tiles_per_s"]
            for setup in self.results["setups"]
            if setup["device"] != "cpu"
            for load in setup["loads"]
        ]
        self.results["tiles_per_s"] = max(rates, default=None)
        self.options.output.parent.mkdir(parents=True, exist_ok=True)
        self.options.output.write_text(json.dumps(self.results, indent=1) + "\n")


def _measure(options: argparse.Namespace) -> Results:
    find_wrk()
    settings = read_settings()
    bundle = open_bundle(
        find_bundle(settings.models_dir, settings.model_name, settings.model_version)
    )
    title, files = collect_tiles(options.tiles)
    # CUDA keeps the kernels that it compiles for this GPU in a folder. An empty one is what the
    # first start on a machine finds.
    cache = WORK_DIR / "cuda-cache"
    shutil.rmtree(cache, ignore_errors=True)
    card = describe_card()
    results: Results = {
        "gpu": card["name"] if card else None,
        "tiles_per_s": None,
        "card": card,
        "host": describe_host(),
        "tensorflow": importlib.metadata.version("tensorflow"),
        "model": f"{bundle.manifest.model_name} {bundle.manifest.model_version}",
        "tiles": {"n": len(files), "title": title},
        "seconds": options.seconds,
        "environment": {"CUDA_CACHE_PATH": str(cache), "TF_CPP_MIN_LOG_LEVEL": "2"},
        "first_start_s": None,
        "graphs": [],
        "setups": [],
        "notes": [],
    }
    run = Run(options, bundle, Bodies.of(files), results)
    _run_parts(run)
    results["environment"] = {"TF_CPP_MIN_LOG_LEVEL": "2"}  # not the folder of this machine
    return results


def _run_parts(run: Run) -> None:
    quick, results = run.options.quick, run.results
    sizes = [str(size) for size in (_QUICK_SIZES if quick else _SIZES)]
    compiled = [str(size) for size in (_QUICK_SIZES if quick else _COMPILED_SIZES)]
    clients = _QUICK_CLIENTS if quick else _CLIENTS
    seconds = 1.0 if quick else run.options.seconds

    def first_start() -> None:
        results["first_start_s"] = measure_start(DEFAULT, run.bundle, results["environment"])

    def serve(setup: Any) -> Callable[[], None]:
        def work() -> None:
            found = measure_setup(
                setup, run.bundle, run.bodies, clients, seconds, results["environment"]
            )
            results["setups"].append(found)

        return work

    run.part("first start", first_start)
    run.part("graph, fp32", lambda: run.graph("fp32", "--sizes", *sizes, "--threads", "1", "2"))
    run.part(CPU.name, serve(CPU))
    run.part(DEFAULT.name, serve(DEFAULT))
    run.part(
        "graph, mixed precision",
        lambda: run.graph("mixed precision", "--sizes", *sizes, "--mixed-precision"),
    )
    run.part("graph, XLA", lambda: run.graph("XLA", "--sizes", *compiled, "--xla"))
    others = OTHERS[:1] if quick else OTHERS
    for setup in others[:4]:
        run.part(setup.name, serve(setup))
    run.part(
        "graph, mixed precision and XLA",
        lambda: run.graph(
            "mixed precision, XLA", "--sizes", *compiled, "--xla", "--mixed-precision"
        ),
    )
    for setup in others[4:]:
        run.part(setup.name, serve(setup))


def _read(options: argparse.Namespace) -> Results:
    results: Results = json.loads(options.output.read_text())
    return results


if __name__ == "__main__":
    sys.exit(main())
