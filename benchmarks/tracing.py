"""Measure what tracing costs: the same tiles to services with and without it, in turns.

    OSTEO_DATA_DIR=/data/tcia .venv/bin/python -m benchmarks.tracing --write-docs

A collector in a process of its own reads what it gets. Services, clients and collector share the
cores, so processor time is the steady figure. On a machine that does other work, the time of the
spans alone varies less than the ratio of two services.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from app import __version__
from app.telemetry.tracing import Trace, carried, enter_queue, leave_queue, stage, tracing
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
_N_TRACES: Final = 2000
_N_SPANS: Final = 7
_EVERY_REQUEST: Final = "1000000"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = BENCHMARK.parser()
    parser.add_argument("--rounds", type=int, default=40, help="turns of each service (40)")
    parser.add_argument("--turn-tiles", type=int, default=16, help="tiles in a turn (16)")
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
        on_us = _on_us(url)
    return {
        "machine": describe_host(),
        "tiles_are": title,
        "n_rounds": options.rounds,
        "n_tiles": options.turn_tiles,
        "off_us": _off_us(),
        "on_us": on_us,
        "services": [one.to_json() for one in found],
    }


def render_tracing(results: Results) -> str:
    """Render the table, the goals and the conditions as Markdown."""
    header = ["tracing", "tiles/s", "ratio", "CPU a tile (ms)", "ratio (quartiles)", "p50 (ms)"]
    off, *_, on = results["services"]
    added = 100 * (on["cpu_ratio"] - 1)
    off_percent, on_percent = (results[us] / 10 / off["cpu_ms"] for us in ("off_us", "on_us"))
    return "\n\n".join(
        [
            render_table(header, [_row(one, one is off) for one in results["services"]]),
            f"Goal: a service that traces every request takes at most {MAX_ADDED_PERCENT:g} % more "
            f"processor time. Measured: {added:+.1f} %, "
            f"{'met' if added <= MAX_ADDED_PERCENT else 'missed'}.",
            f"The spans of one tile alone, begun, ended, encoded and sent, take "
            f"{results['on_us']:.0f} us, {on_percent:.1f} % of a tile's processor time. With "
            f"tracing off, the same calls take {results['off_us']:.1f} us, {off_percent:.3f} %.",
            f"Medians of {results['n_rounds']} rounds with {results['n_tiles']} tiles "
            f"({results['tiles_are']}) from {_N_CLIENTS} clients to each service, on "
            f"{results['machine']['cpu']}, {results['machine']['cores']} cores with a load "
            f"of {results['machine']['load_at_start']:g} at start; ratios to the first row within "
            "a round.",
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
        _work_on_tile(None)
    return 1e6 * (time.process_time() - started) / _N_CALLS


def _on_us(url: str) -> float:
    """Processor time of the trace of one tile, with its export, in microseconds."""
    from app.telemetry.request_traces import Tracer
    from app.telemetry.span_export import MAX_WAITING_SPANS, SpanExport

    resource = {"service.name": "osteo-tiles", "service.version": __version__}
    tracer = Tracer(resource, 1.0, 1e9, SpanExport(f"{url}/v1/traces"))
    started = time.process_time()
    for number in range(_N_TRACES):
        trace = tracer.begin((), ())
        began_s = time.perf_counter()
        _work_on_tile(trace)
        trace.end("POST /v1/classify", began_s, {"osteo.request_id": str(number)}, None)
        while tracer.export.n_waiting > MAX_WAITING_SPANS // 2:
            time.sleep(0.001)
    tracer.export.close()
    if tracer.export.n_exported != _N_TRACES * _N_SPANS:
        raise RuntimeError(f"the collector took {tracer.export.n_exported} spans only")
    return 1e6 * (time.process_time() - started) / _N_TRACES


def _work_on_tile(trace: Trace | None) -> None:
    """What the service calls for one tile, besides the work."""
    with tracing(trace):
        for name in ("read", "decode", "infer", "assess", "encode"):
            with stage(name) as span:
                span.note("osteo.n_batch_tiles", 1)
        queued = enter_queue()
        carried(leave_queue)()
        queued.end()


class _Handler(BaseHTTPRequestHandler):
    """Reads what it gets."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer that everything is taken."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def _collector() -> Iterator[str]:
    """A collector in a process of its own; yields its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        process = multiprocessing.get_context("fork").Process(target=server.serve_forever)
        process.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            process.kill()
            process.join()


if __name__ == "__main__":
    sys.exit(main())
