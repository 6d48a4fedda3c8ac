"""Overload: throughput and rejection latency with far more clients than the service can serve.

`wrk` generates the load and counts statuses. Meanwhile Python posts tiles at a fixed rate,
however long replies take, to measure the latency of replies by status; another client requests
readiness.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.bodies import Body, BodyFiles
from benchmarks.probe import Reply, get, post
from benchmarks.processes import RunningServer
from benchmarks.report import percentile
from benchmarks.wrk import Load, OnRefusal, run_wrk

_READY_EVERY_S: Final = 0.05
_TILE_EVERY_S: Final = 0.1
# If more probes than this are waiting for a reply, further ones are skipped.
_MAX_PROBES: Final = 64


@dataclass(slots=True)
class _Seen:
    """Status and latency in seconds of every probe; status 0 means no reply."""

    tiles: list[tuple[int, float]] = field(default_factory=list)
    readiness: list[tuple[int, float]] = field(default_factory=list)


def measure_overload(
    server: RunningServer,
    bodies: BodyFiles,
    probe_body: Body,
    peak_clients: int,
    clients: int,
    seconds: float,
) -> dict[str, Any]:
    """Measure clients that obey `Retry-After`, clients that do not, and the peak without overload.

    Args:
        server: our service, warmed up.
        bodies: bodies that `wrk` posts.
        probe_body: body that the probes post.
        peak_clients: number of clients at which the service is fastest.
        clients: number of clients of the overload.
        seconds: duration of each run.
    """

    def peak() -> float:
        return run_wrk(server.classify_url, bodies, peak_clients, seconds).tiles_per_s

    # The higher of two, before and after, because a slow moment would flatter the overload.
    before = peak()
    loads = {
        "waiting": _measure_load(server, bodies, probe_body, clients, seconds, "wait"),
        "hammering": _measure_load(server, bodies, probe_body, clients, seconds, "hammer"),
    }
    return {"clients": clients, "peak_tiles_per_s": max(before, peak()), **loads}


def _measure_load(
    server: RunningServer,
    bodies: BodyFiles,
    probe_body: Body,
    clients: int,
    seconds: float,
    on_refusal: OnRefusal,
) -> dict[str, Any]:
    seen = _Seen()
    over = threading.Event()
    path = server.server.classify_path

    def ask_tile() -> Reply:
        return post(server.port, path, probe_body)

    def ask_readiness() -> Reply:
        return get(server.port, server.server.ready_path)

    with ThreadPoolExecutor(_MAX_PROBES + 2) as pool:
        pool.submit(_repeat, over, _READY_EVERY_S, lambda: _ask(ask_readiness, seen.readiness))
        free = threading.Semaphore(_MAX_PROBES)

        def probe() -> None:
            if free.acquire(blocking=False):
                asked = pool.submit(_ask, ask_tile, seen.tiles)
                asked.add_done_callback(lambda _: free.release())

        pool.submit(_repeat, over, _TILE_EVERY_S, probe)
        try:
            load = run_wrk(server.classify_url, bodies, clients, seconds, on_refusal)
        finally:
            over.set()
            n_probes_ok = sum(status == 200 for status, _ in seen.tiles)
    return _summarise(load, seen, n_probes_ok / seconds)


def _repeat(over: threading.Event, every_s: float, act: Callable[[], None]) -> None:
    while not over.wait(every_s):
        act()


def _ask(ask: Callable[[], Reply], seen: list[tuple[int, float]]) -> None:
    started = time.perf_counter()
    try:
        reply = ask()
        seen.append((reply.status, reply.seconds))
    except (OSError, http.client.HTTPException):
        seen.append((0, time.perf_counter() - started))


def _summarise(load: Load, seen: _Seen, probe_tiles_per_s: float) -> dict[str, Any]:
    statuses = Counter(load.statuses) + Counter(status for status, _ in seen.tiles)
    n_replies = max(1, statuses.total())
    return {
        # Includes the probes' tiles.
        "tiles_per_s": load.tiles_per_s + probe_tiles_per_s,
        "refused_share": statuses[429] / n_replies,
        "other_statuses": {
            str(status): n for status, n in sorted(statuses.items()) if status not in {200, 429}
        },
        "socket_errors": load.socket_errors,
        "timeouts": load.timeouts,
        "refusal_ms": _milliseconds([s for status, s in seen.tiles if status == 429]),
        "accepted_ms": _milliseconds([s for status, s in seen.tiles if status == 200]),
        "readiness_ms": _milliseconds([s for status, s in seen.readiness if status == 200]),
        "readiness_failed": sum(status != 200 for status, _ in seen.readiness),
    }


def _milliseconds(latencies_s: list[float]) -> dict[str, float] | None:
    if not latencies_s:
        return None
    return {
        "n": len(latencies_s),
        "p50": percentile(latencies_s, 50) * 1e3,
        "p99": percentile(latencies_s, 99) * 1e3,
        "max": max(latencies_s) * 1e3,
    }
