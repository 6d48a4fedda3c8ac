"""Measure what tracing costs: the same tiles to services with and without it, in turns.

    OSTEO_DATA_DIR=/data/tcia .venv/bin/python -m benchmarks.tracing --write-docs

Every request is traced, and a collector in this process reads what it gets. Services, clients and
collector share the cores, so the ratio of processor time within a round is the steady figure.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from app.telemetry.tracing import carried, enter_queue, leave_queue, stage, tracing
from benchmarks.access.clients import Answers, send
from benchmarks.access.comparing import compare
from benchmarks.access.services import Configuration, Service, running
from benchmarks.machine import describe_host
from benchmarks.publish import Benchmark, Results
from benchmarks.tables import render_table
from benchmarks.tiles import TILES_HELP, collect_tiles

BENCHMARK: Final = Benchmark("tracing", "tracing.md", __doc__)
MAX_ADDED_PERCENT: Final = 3.0
_N_CLIENTS: Final = 8
_N_CALLS: Final = 20_000
_EVERY_REQUEST: Final = "1000000"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = BENCHMARK.parser()
    parser.add_argument("--rounds", type=int, default=15, help="turns of each service (15)")
    parser.add_argument("--turn-tiles", type=int, default=80, help="tiles in a turn (80)")
    parser.add_argument("--tiles", type=Path, help=TILES_HELP)
    return BENCHMARK.run(parser.parse_args(arguments), _measure, render_tracing)


def _measure(options: argparse.Namespace) -> Results:
    title, files = collect_tiles(options.tiles)
    tiles = [file.read_bytes() for file in files]

    def classify(service: Service) -> Answers:
        answers = send(service.target, tiles, _N_CLIENTS, n_requests=options.turn_tiles)
        answers.require(200)
        return answers

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        url = stack.enter_context(_collector())
        traced = {"OSTEO_TRACES_URL": url, "OSTEO_TRACES_PER_S": _EVERY_REQUEST}
        configurations = (
            Configuration("off"),
            Configuration("on, no request traced", traced | {"OSTEO_TRACES_SHARE": "0"}),
            Configuration("on, every request traced", traced),
        )
        services = [
            stack.enter_context(running(configuration, Path(folder) / str(i)))
            for i, configuration in enumerate(configurations)
        ]
        found = compare(services, classify, options.rounds)
    return {
        "machine": describe_host(),
        "tiles_are": title,
        "n_rounds": options.rounds,
        "n_tiles": options.turn_tiles,
        "off_us": _off_us(),
        "services": [one.to_json() for one in found],
    }


def render_tracing(results: Results) -> str:
    """Render the table, the goals and the conditions as Markdown."""
    header = ["tracing", "tiles/s", "ratio", "CPU a tile (ms)", "ratio (quartiles)", "p50 (ms)"]
    off, *_, on = results["services"]
    added = 100 * (on["cpu_ratio"] - 1)
    return "\n\n".join(
        [
            render_table(header, [_row(one, one is off) for one in results["services"]]),
            f"Goal: every request traced adds at most {MAX_ADDED_PERCENT:g} % processor time. "
            f"Measured: {added:.1f} %, which is {'met' if added <= MAX_ADDED_PERCENT else 'missed'}"
            f". Off, the calls of one tile that do nothing take {results['off_us']:.1f} us, "
            f"{results['off_us'] / 10 / off['cpu_ms']:.3f} % of its processor time.",
            f"Medians of {results['n_rounds']} rounds with {results['n_tiles']} tiles "
            f"({results['tiles_are']}) from {_N_CLIENTS} clients to each service, on "
            f"{results['machine']['cpu']}, {results['machine']['cores']} cores; ratios to "
            "the first row within a round.",
        ]
    )


def _row(found: dict[str, Any], is_base: bool) -> list[str]:
    low, high = found["cpu_quartiles"]
    return [
        found["title"],
        f"{found['per_s']:.1f}",
        "1" if is_base else f"{found['per_s_ratio']:.3f}",
        f"{found['cpu_ms']:.2f}",
        "1" if is_base else f"{found['cpu_ratio']:.3f} ({low:.3f} to {high:.3f})",
        f"{found['p50_ms']:.1f}",
    ]


def _off_us() -> float:
    """Processor time of what one tile calls if tracing is off, in microseconds."""
    started = time.process_time()
    for _ in range(_N_CALLS):
        with tracing(None):
            for name in ("read", "decode", "infer", "assess", "encode"):
                with stage(name) as span:
                    span.note("osteo.n_batch_tiles", 1)
            queued = enter_queue()
            carried(leave_queue)()
            queued.end()
    return 1e6 * (time.process_time() - started) / _N_CALLS


@contextmanager
def _collector() -> Iterator[str]:
    """A server that reads spans and keeps nothing; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    sys.exit(main())
