"""Compare the service with other ways to serve the same model.

    .venv/bin/python -m benchmarks.serving --quick
    OSTEO_DATA_DIR=/data/tcia .venv/bin/python -m benchmarks.serving --write-docs
    .venv/bin/python -m benchmarks.serving --soak 50000

It needs `wrk` and Linux. The first run installs each peer into its own environment under `.bench/`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from app.bundle import Bundle, find_bundle, open_bundle
from app.core.manifest import INT8_NAME
from app.settings import read_settings
from benchmarks.chart import draw_chart
from benchmarks.environments import WORK_DIR, prepare_environment
from benchmarks.machine import describe_machine
from benchmarks.processes import running
from benchmarks.publish import Benchmark, Results
from benchmarks.rounds import Bench, Plan
from benchmarks.servers import OURS, OURS_INT8, PEERS, SERVERS, Server
from benchmarks.soak import soak
from benchmarks.tables import render_report
from benchmarks.tiles import TILES_HELP, collect_tiles
from benchmarks.wrk import find_wrk

BENCHMARK: Final = Benchmark("serving", "benchmarks.md", __doc__)
QUICK_RESULTS_FILE: Final = WORK_DIR / "serving.json"
PEER_NAMES: Final = [peer.name for peer in PEERS]
CHART: Final = BENCHMARK.page.with_name("benchmarks-serving.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _read_options(arguments)
    if options.quick and options.output == BENCHMARK.results_file:
        options.output = QUICK_RESULTS_FILE
    measure = _read_results if options.report_only else _measure
    return BENCHMARK.run(options, measure, lambda results: _render(results, options.write_docs))


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = BENCHMARK.parser()
    parser.add_argument("--quick", action="store_true", help="measure 1 round of 3 s per cell")
    parser.add_argument("--seconds", type=float, help="seconds per cell (8; 3 with --quick)")
    parser.add_argument("--rounds", type=int, help="number of rounds (5; 1 with --quick)")
    parser.add_argument("--tiles", type=Path, help=TILES_HELP)
    parser.add_argument("--only", nargs="+", choices=SERVERS, help="measure only these servers")
    parser.add_argument(
        "--peers", nargs="*", choices=PEER_NAMES, help="compare only with these peers, or with none"
    )
    parser.add_argument(
        "--overload-clients",
        type=int,
        default=256,
        help="clients of the overload (256; 0 skips it)",
    )
    parser.add_argument("--no-folder", action="store_true", help="skip `osteo classify`")
    parser.add_argument(
        "--soak",
        type=int,
        nargs="?",
        const=50_000,
        metavar="N",
        help="only post N requests (50000) to our service and measure its memory",
    )
    parser.add_argument("--report-only", action="store_true", help="report the results file again")
    return parser.parse_args(arguments)


def _measure(options: argparse.Namespace) -> Results:
    find_wrk()  # fail before the installations
    machine = describe_machine()
    settings = read_settings()
    bundle = open_bundle(
        find_bundle(settings.models_dir, settings.model_name, settings.model_version)
    )
    title, files = collect_tiles(options.tiles)
    plan = Plan(
        seconds=options.seconds or (3.0 if options.quick else 8.0),
        rounds=options.rounds or (1 if options.quick else 5),
        overload_clients=options.overload_clients,
        with_folder=not options.no_folder,
    )
    earlier = _read_results(options) if options.output.is_file() else {}
    bench = Bench(plan, bundle, files)
    description = {"machine": machine, "settings": _describe(plan, bundle, title, files)}
    if options.soak:
        with running(SERVERS[OURS], bundle.path) as process:
            soaked = soak(process, bench.bodies["multipart"], options.soak)
        # The results of an earlier run stay; the soak test has its own description.
        soaked = {"machine": machine, **soaked}
        results = {**description, **bench.results, **earlier, "soak": soaked}
    else:
        servers, notes = _choose_servers(options, bundle)
        bench.run(servers)
        if plan.overload_clients and SERVERS[OURS] in servers:
            bench.overload(SERVERS[OURS])
        results = {**description, **bench.results}
        results["notes"] = [*notes, *results["notes"]]
        if "soak" in earlier:
            results["soak"] = earlier["soak"]
    return results


def _choose_servers(options: argparse.Namespace, bundle: Bundle) -> tuple[list[Server], list[str]]:
    """List the servers that can be measured, and a note for each that cannot."""
    chosen: list[Server] = []
    notes: list[str] = []
    for server in SERVERS.values():
        if options.only and server.name not in options.only:
            continue
        if server.is_peer and options.peers is not None and server.name not in options.peers:
            continue
        if server.name == OURS_INT8 and not bundle.int8_file.is_file():
            notes.append(f"int8 was not measured: the bundle has no {INT8_NAME}.")
            continue
        try:
            if server.is_peer:
                prepare_environment(server.name)
            chosen.append(server)
        except RuntimeError as error:
            notes.append(f"{server.name} was not measured: {error}")
    if not chosen:
        raise RuntimeError(
            "No server can be measured: " + " ".join(notes or ["--only and --peers exclude all."])
        )
    return chosen, notes


def _describe(plan: Plan, bundle: Bundle, title: str, files: Sequence[Path]) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "tiles": title,
        "n_tiles": len(files),
        "mean_tile_kib": statistics.mean(file.stat().st_size for file in files) / 1024,
        "model": f"{manifest.model_name} {manifest.model_version}",
        "bundle_sha256": bundle.sha256,
    }


def _read_results(options: argparse.Namespace) -> Results:
    results: Results = json.loads(options.output.read_text())
    return results


def _render(results: Results, with_chart: bool) -> str:
    if not with_chart:
        return render_report(results)
    draw_chart(results, CHART)
    picture = f"![Tiles per second of each server with eight clients]({CHART.name})"
    return f"{picture}\n\n{render_report(results)}"


if __name__ == "__main__":
    sys.exit(main())
