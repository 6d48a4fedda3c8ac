"""Many more clients than the service can serve: what it still does, and how fast it refuses.

`wrk` is the crowd and counts statuses. Beside it tiles are posted from Python at a fixed rate,
however long replies take, for the latency of single replies by status; one client asks for
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
# Where replies take longer than this many probes bridge, some are left out and none piles up.
_MAX_PROBES: Final = 64


@dataclass(slots=True)
class _Seen:
    """Latencies in seconds by status; 0 stands for no reply."""

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
    """Measure the crowd that obeys `Retry-After` and the one that does not, and the peak around.

    Args:
        server: our service, warmed up.
        bodies: what the crowd posts.
        probe_body: what the probes post.
        peak_clients: clients at which the service is at its best.
        clients: the crowd.
        seconds: of each run.
    """

    def peak() -> float:
        return run_wrk(server.classify_url, bodies, peak_clients, seconds).tiles_per_s

    # Before and after, the higher one: a slow moment of the machine is no excuse for the crowd's.
    before = peak()
    crowds = {
        "waiting": _crowd(server, bodies, probe_body, clients, seconds, "wait"),
        "hammering": _crowd(server, bodies, probe_body, clients, seconds, "hammer"),
    }
    return {"clients": clients, "peak_tiles_per_s": max(before, peak()), **crowds}


def _crowd(
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
        # The probes' tiles were served too.
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
