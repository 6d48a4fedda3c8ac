"""Say how many cores, replicas and gibibytes a day's load needs.

    .venv/bin/python -m benchmarks.sizing plan --tiles-per-day 2000 --slides-per-day 40
    OSTEO_DATA_DIR=/data/tcia .venv/bin/python -m benchmarks.sizing measure --write-docs
    .venv/bin/python -m benchmarks.sizing report --write-docs

`plan` needs no measurement of yours: it reads benchmarks/results/sizing.json, which came with the
program. `measure` takes four minutes and writes this file anew for your machine; it wants a quiet
machine with at least two cores, and root for CPU quotas. `report` reports the file again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.publish import Benchmark, Results
from benchmarks.sizing.chart import draw_curves
from benchmarks.sizing.measuring import LOADS, measure
from benchmarks.sizing.plan_report import render_plan
from benchmarks.sizing.planning import Cluster, Demand, plan
from benchmarks.sizing.predicting import predict
from benchmarks.sizing.report import render_sizing
from benchmarks.tiles import TILES_HELP

BENCHMARK: Final = Benchmark("sizing", "sizing.md", __doc__)
CHART: Final = BENCHMARK.page.with_name("sizing-latency.png")
GPU_RESULTS: Final = BENCHMARK.results_file.with_name("gpu.json")
EXAMPLE: Final = Demand(tiles_per_day=2000, slides_per_day=40, tiles_per_slide=600)
"""The worked example of docs/sizing.md: a hospital with 40 slides and 2,000 single tiles a day."""

_RANGES: Final = {
    "tiles_per_slide": (1, 1e6),
    "hours": (0.1, 24),
    "peak_factor": (1, 1000),
    "request_tiles": (1, 64),
    "nodes": (1, 1000),
    "noticed_s": (0, 3600),
    "replaced_s": (1, 86400),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code, 1 if the reader of its output is gone."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        exit_code = run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would flush to the closed pipe again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sizing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_plan(commands)
    measuring = commands.add_parser("measure", help="measure the service on 1 and 2 cores")
    BENCHMARK.add_options(measuring)
    measuring.add_argument(
        "--cores", type=int, nargs="+", default=[1, 2], help="numbers of cores (1 2)"
    )
    measuring.add_argument(
        "--seconds", type=float, default=12.0, help="seconds of each rate of arrivals (12)"
    )
    measuring.add_argument(
        "--loads",
        type=float,
        nargs="+",
        default=LOADS,
        help="rates, as shares of the capacity (0.3 0.5 0.7 0.8 0.9 1.5)",
    )
    measuring.add_argument("--tiles", type=Path, help=TILES_HELP)
    measuring.add_argument(
        "--busy", action="store_true", help="measure although other work uses the machine"
    )
    measuring.set_defaults(run=_run_measure)
    reporting = commands.add_parser("report", help="predict and report the results file again")
    BENCHMARK.add_options(reporting)
    reporting.set_defaults(run=_run_report)
    return parser


def _add_plan(commands: Any) -> None:
    planning = commands.add_parser(
        "plan",
        help="how many replicas, cores and gibibytes a day's load needs",
        description="Plan a day's load. Research use only: a plan is no promise; test it.",
    )

    def add(name: str, default: float | None, text: str) -> None:
        shown = text if default is None else f"{text} ({default:g})"
        planning.add_argument(name, type=_number, default=default, metavar="N", help=shown)

    add("--tiles-per-day", EXAMPLE.tiles_per_day, "single tiles, whose callers wait")
    add("--slides-per-day", 0, "whole slides, classified in the background")
    add("--tiles-per-slide", EXAMPLE.tiles_per_slide, "tissue tiles of a slide")
    add("--hours", EXAMPLE.hours, "hours of the day in which they arrive")
    add("--peak-factor", EXAMPLE.peak_factor, "single tiles at the peak over their mean")
    add("--target-p99-s", EXAMPLE.target_p99_s, "99th percentile of the time of a request")
    add("--request-tiles", 1, "tiles of one request")
    add("--pod-cores", 2, "cores of a pod: 1 or 2, as measured")
    add("--nodes", 2, "nodes over which the pods are spread")
    add("--noticed-s", 50, "seconds until no requests are sent to a lost node")
    add("--replaced-s", 360, "seconds until the pods of a lost node run elsewhere")
    add("--gpu-cost-cores", None, "cores that cost as much as a GPU")
    planning.add_argument(
        "--balance",
        choices=("random", "least"),
        default="random",
        help="requests go to a random pod (kube-proxy), or to the one with the fewest tiles",
    )
    planning.add_argument(
        "--may-not-lose-a-node", action="store_true", help="plan for the days without a failure"
    )
    planning.add_argument("--json", action="store_true", help="print JSON instead of a table")
    planning.add_argument(
        "--results", type=Path, default=BENCHMARK.results_file, help="results file of `measure`"
    )
    planning.add_argument(
        "--gpu-results", type=Path, default=GPU_RESULTS, help="results file of the GPU, if any"
    )
    planning.set_defaults(run=_run_plan)


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 0")
    return value


def _require_ranges(options: argparse.Namespace) -> None:
    """Raise ValueError if an option is out of its range."""
    for name, (least, most) in _RANGES.items():
        if not least <= getattr(options, name) <= most:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} must be between {least:g} and {most:g}.")


def _run_plan(options: argparse.Namespace) -> int:
    try:
        _require_ranges(options)
        demand = Demand(
            tiles_per_day=options.tiles_per_day,
            slides_per_day=options.slides_per_day,
            tiles_per_slide=options.tiles_per_slide,
            hours=options.hours,
            peak_factor=options.peak_factor,
            target_p99_s=options.target_p99_s,
            request_tiles=int(options.request_tiles),
        )
        cluster = Cluster(
            pod_cores=int(options.pod_cores),
            nodes=int(options.nodes),
            may_lose_node=not options.may_not_lose_a_node,
            balance=options.balance,
            noticed_s=options.noticed_s,
            replaced_s=options.replaced_s,
            gpu_cost_cores=options.gpu_cost_cores,
        )
        results = _read(options.results)
        planned = plan(results, demand, cluster, _read_gpu(options.gpu_results))
    except (OSError, ValueError) as error:
        print(f"sizing: {error}", file=sys.stderr)
        return 1
    print(json.dumps(planned, indent=1) if options.json else render_plan(planned, results))
    return 0


def _read(file: Path) -> dict[str, Any]:
    """Raise ValueError, which names the file, if it is not a results file."""
    try:
        found = json.loads(file.read_text())
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{file} is not a results file.")  # noqa: TRY004 - of a file, not of a call
    return found


def _read_gpu(file: Path) -> Mapping[str, Any] | None:
    return _read(file) if file.is_file() else None


def _run_measure(options: argparse.Namespace) -> int:
    return BENCHMARK.run(options, lambda _: complete(measure(options)), _render(options))


def _run_report(options: argparse.Namespace) -> int:
    def read(_: argparse.Namespace) -> Results:
        return complete(json.loads(options.output.read_text()))

    return BENCHMARK.run(options, read, _render(options))


def complete(results: Results) -> Results:
    """Add what follows from the measurements: the predictions and the worked example."""
    predicted = results | {"predicted": predict(results)}
    return predicted | {"example": plan_example(predicted)}


def plan_example(results: Results) -> dict[str, Any]:
    """Plan the worked example with the largest pods that were measured."""
    pod_cores = results["measured"][-1]["cores"]
    return plan(results, EXAMPLE, Cluster(pod_cores=pod_cores), _read_gpu(GPU_RESULTS))


def _render(options: argparse.Namespace) -> Callable[[Results], str]:
    def render(results: Results) -> str:
        if options.write_docs:
            draw_curves(results, CHART)
        return render_sizing(results, CHART.name)

    return render


if __name__ == "__main__":
    sys.exit(main())
