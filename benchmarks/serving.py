"""Measure the service against what a user would pick instead, in one command.

    python -m benchmarks.serving --quick
    OSTEO_DATA_DIR=/data/tcia python -m benchmarks.serving --write-docs
    python -m benchmarks.serving --soak 50000

It needs `wrk` and Linux. Each peer gets its own environment under `.bench/` the first time.
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
from app.core.errors import OsteoError
from app.settings import read_settings
from benchmarks.chart import draw_chart
from benchmarks.environments import REPOSITORY, WORK_DIR, prepare_environment
from benchmarks.machine import describe_machine
from benchmarks.processes import running
from benchmarks.report import Results, replace_between_markers
from benchmarks.rounds import INT8_NAME, Bench, Plan
from benchmarks.servers import OURS, OURS_INT8, PEERS, SERVERS, Server
from benchmarks.soak import soak
from benchmarks.tables import render_report
from benchmarks.tiles import collect_tiles
from benchmarks.wrk import find_wrk

RESULTS_FILE: Final = REPOSITORY / "benchmarks" / "results" / "serving.json"
QUICK_RESULTS_FILE: Final = WORK_DIR / "serving.json"
PEER_NAMES: Final = [peer.name for peer in PEERS]
DOCS_PAGE: Final = REPOSITORY / "docs" / "benchmarks.md"
DOCS_CHART: Final = REPOSITORY / "docs" / "benchmarks-serving.png"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _read_options(arguments)
    file: Path = options.output or (QUICK_RESULTS_FILE if options.quick else RESULTS_FILE)
    try:
        results = _read_results(file) if options.report_only else _measure(options, file)
    except (OsteoError, OSError, RuntimeError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print(render_report(results))
    if options.write_docs:
        _write_docs(results)
    return 0


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true", help="one round of 3 s a cell")
    parser.add_argument("--seconds", type=float, help="of each cell (8; 3 with --quick)")
    parser.add_argument("--rounds", type=int, help="medians are over these (5; 1 with --quick)")
    parser.add_argument("--tiles", type=Path, help="folder of tiles [OSTEO_DATA_DIR, else drawn]")
    parser.add_argument("--only", nargs="+", choices=SERVERS, help="measure these servers only")
    parser.add_argument(
        "--peers", nargs="*", choices=PEER_NAMES, help="compare with these only; none: no peer"
    )
    parser.add_argument("--overload-clients", type=int, default=256, help="0: no overload run")
    parser.add_argument("--no-folder", action="store_true", help="leave `osteo classify` out")
    parser.add_argument(
        "--soak",
        type=int,
        nargs="?",
        const=50_000,
        metavar="N",
        help="post N requests to our service (50000), watch its memory, and measure nothing else",
    )
    parser.add_argument(
        "--output", type=Path, help="results file [benchmarks/results/serving.json]"
    )
    parser.add_argument("--report-only", action="store_true", help="report an earlier run")
    parser.add_argument(
        "--write-docs", action="store_true", help="renew docs/benchmarks.md and PNG"
    )
    return parser.parse_args(arguments)


def _measure(options: argparse.Namespace, file: Path) -> Results:
    find_wrk()  # a sentence now is better than one after the installations
    machine = describe_machine()
    settings = read_settings()
    bundle = open_bundle(
        find_bundle(settings.models_dir, settings.model_name, settings.model_version)
    )
    title, tiles = collect_tiles(options.tiles)
    plan = Plan(
        seconds=options.seconds or (3.0 if options.quick else 8.0),
        rounds=options.rounds or (1 if options.quick else 5),
        overload_clients=options.overload_clients,
        with_folder=not options.no_folder,
    )
    earlier = _read_results(file) if file.is_file() else {}
    bench = Bench(plan, bundle, tiles)
    if options.soak:
        # The rest of an earlier run stays as it is; the soak carries its own facts.
        with running(SERVERS[OURS], bundle.path) as process:
            soaked = soak(process, bench.bodies["multipart"], options.soak)
        results = {
            "machine": machine,
            "settings": _describe(plan, bundle, title, tiles),
            **bench.results,
            **earlier,
            "soak": {"machine": machine, **soaked},
        }
    else:
        servers, notes = _choose_servers(options, bundle)
        bench.run(servers)
        if plan.overload_clients and SERVERS[OURS] in servers:
            bench.overload(SERVERS[OURS])
        results = {
            "machine": machine,
            "settings": _describe(plan, bundle, title, tiles),
            **bench.results,
        }
        results["notes"] = [*notes, *results["notes"]]
        if "soak" in earlier:
            results["soak"] = earlier["soak"]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n")
    return results


def _choose_servers(options: argparse.Namespace, bundle: Bundle) -> tuple[list[Server], list[str]]:
    """The servers that can be measured, with a note for each that cannot."""
    chosen: list[Server] = []
    notes: list[str] = []
    for server in SERVERS.values():
        if options.only and server.name not in options.only:
            continue
        if server.is_peer and options.peers is not None and server.name not in options.peers:
            continue
        if server.name == OURS_INT8 and not (bundle.path / INT8_NAME).is_file():
            notes.append(f"int8 was not measured: the bundle has no {INT8_NAME}.")
            continue
        try:
            if server.is_peer:
                prepare_environment(server.name)
            chosen.append(server)
        except RuntimeError as error:
            notes.append(f"{server.name} was not measured: {error}")
    if not chosen:
        raise RuntimeError("there is nothing to measure.")
    return chosen, notes


def _describe(plan: Plan, bundle: Bundle, title: str, tiles: Sequence[Path]) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "tiles": title,
        "n_tiles": len(tiles),
        "mean_tile_kib": statistics.mean(tile.stat().st_size for tile in tiles) / 1024,
        "model": f"{manifest.model_name} {manifest.model_version}",
        "bundle_sha256": bundle.sha256,
    }


def _read_results(file: Path) -> Results:
    results: Results = json.loads(file.read_text())
    return results


def _write_docs(results: Results) -> None:
    draw_chart(results, DOCS_CHART)
    picture = f"![Tiles per second of each server, eight clients]({DOCS_CHART.name})"
    text = f"{picture}\n\n{render_report(results)}"
    DOCS_PAGE.write_text(replace_between_markers(DOCS_PAGE.read_text(), text))


if __name__ == "__main__":
    sys.exit(main())
