"""Measures the service on one and on two cores: alone, saturated, and at several rates."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from app.bundle import find_bundle
from app.settings import Settings, read_settings
from benchmarks.access.clients import Target, send
from benchmarks.access.services import Service
from benchmarks.machine import describe_host
from benchmarks.processes import RunningServer, running
from benchmarks.publish import Results
from benchmarks.servers import OURS, SERVERS
from benchmarks.sizing.arrivals import send_at_rate, send_with_pauses
from benchmarks.sizing.disturbance import Counters, disturbance, read_counters, require_quiet
from benchmarks.sizing.outcomes import summarise
from benchmarks.sizing.quota import CoreLimit, limited_cores
from benchmarks.tiles import collect_tiles

LOADS: Final = (0.3, 0.5, 0.7, 0.8, 0.9, 1.5)
"""Offered tiles a second, as shares of what a saturated service answers."""
_CLIENTS: Final = 8
_ROUNDS: Final = 3
_PAUSE_S: Final = 0.03


@dataclass(slots=True)
class _Limited:
    """A service on a limited number of cores, and what was measured of it."""

    limit: CoreLimit
    server: RunningServer
    service: Service
    idle_rss_mib: float
    alone_s: list[float] = field(default_factory=list)
    saturated: list[dict[str, float]] = field(default_factory=list)
    points: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tiles_per_s(self) -> float:
        """Median over the saturated rounds."""
        return statistics.median(turn["tiles_per_s"] for turn in self.saturated)

    def serial_s(self) -> float:
        """Processor time of the event loop, which is the main thread."""
        text = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/schedstat").read_text()
        return int(text.split()[0]) / 1e9

    def describe(self) -> dict[str, Any]:
        """The results."""
        return {
            "cores": self.limit.n_cores,
            "limited_by": self.limit.kind,
            "ready_s": self.server.ready_s,
            "idle_rss_mib": self.idle_rss_mib,
            "peak_rss_mib": self.server.peak_rss_mib(),
            "alone_ms": [round(value * 1e3, 2) for value in self.alone_s],
            "saturated": self.saturated,
            "points": self.points,
        }


def measure(options: argparse.Namespace) -> Results:
    """Run the benchmark.

    Args:
        options: `cores`, `seconds` of a rate, `loads`, `tiles` and `busy`.

    Raises:
        RuntimeError: the machine is busy, has too few cores, or a service did not start.
    """
    n_usable = len(os.sched_getaffinity(0))
    if max(options.cores) > n_usable:
        raise RuntimeError(f"this machine has {n_usable} cores; choose --cores up to that number.")
    machine = describe_host()
    if not options.busy:
        require_quiet()
    title, files = collect_tiles(options.tiles)
    bodies, before = [file.read_bytes() for file in files], _Mark.now([])
    with ExitStack() as stack:
        limited = [stack.enter_context(_serving(n)) for n in options.cores]
        stack.enter_context(_first_in_line())
        for one in limited:
            _tell(f"{one.limit.n_cores}, alone")
            send(one.service.target, bodies, 1, seconds=options.seconds / 6)  # warm up
            one.alone_s = _alone_s(one, bodies, options.seconds / 2)
        for _ in range(_ROUNDS):  # in turn, so that a slow minute affects all alike
            for one in limited:
                _tell(f"{one.limit.n_cores}, saturated")
                one.saturated.append(_saturate(one, bodies, options.seconds / 3))
        for load in options.loads:
            for one in limited:
                _tell(f"{one.limit.n_cores}, load {load:g}")
                one.points.append(_offer(one, bodies, load, options.seconds))
        return {
            "machine": machine,
            "tiles": title,
            "n_tiles": len(files),
            "seconds": options.seconds,
            "limits": _limits(read_settings()),
            "disturbance": before.until_now([one.service for one in limited]),
            "measured": [one.describe() for one in limited],
        }


def _limits(settings: Settings) -> dict[str, float]:
    """The settings with which the service ran, and on which a plan depends."""
    return {
        "max_tiles": settings.max_tiles_in_flight,
        "max_queue_s": min(settings.max_queue_s, settings.request_timeout_s / 2),
        "max_upload_bytes": settings.max_upload_bytes,
        "max_decode_bytes": settings.max_decode_bytes,
        "slide_memory_bytes": settings.slide_memory_bytes,
    }


@contextmanager
def _serving(n_cores: int) -> Iterator[_Limited]:
    settings, ours = read_settings(), SERVERS[OURS]
    bundle_dir = find_bundle(settings.models_dir, settings.model_name, settings.model_version)
    with limited_cores(n_cores) as limit:
        server = replace(
            ours,
            name=f"{ours.name}-{n_cores}-cores",  # the name of its log
            command=lambda port: limit.command(ours.command(port)),
        )
        with running(server, bundle_dir) as started:
            service = Service(server.name, Target(started.port), started.pid)
            yield _Limited(limit, started, service, started.rss_mib())


@contextmanager
def _first_in_line() -> Iterator[None]:
    """Let the load generator run as soon as a request is due, if the system allows it."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, policy, parameters)


def _alone_s(one: _Limited, bodies: Sequence[bytes], seconds: float) -> list[float]:
    """Latencies of tiles that meet no other."""
    outcomes = send_with_pauses(one.service.target, bodies, _PAUSE_S, seconds, seed=0)
    if any(outcome.latency_s < 0 for outcome in outcomes):
        raise RuntimeError("an idle service refused a tile, or did not answer")
    return [outcome.latency_s for outcome in outcomes]


def _saturate(one: _Limited, bodies: Sequence[bytes], seconds: float) -> dict[str, float]:
    cpu_s, serial_s = one.service.cpu_s(), one.serial_s()
    mark = _Mark.now([one.service])
    answers = send(one.service.target, bodies, _CLIENTS, seconds=seconds)
    answers.require(200)
    n_tiles, used_s = answers.statuses[200], one.service.cpu_s() - cpu_s
    return {
        "tiles_per_s": answers.good_per_s,
        "cpu_ms": used_s / n_tiles * 1e3,
        "serial_ms": (one.serial_s() - serial_s) / n_tiles * 1e3,
        "cores_used": used_s / answers.seconds,
        **mark.until_now([one.service]),
    }


def _offer(one: _Limited, bodies: Sequence[bytes], load: float, seconds: float) -> dict[str, Any]:
    mark, per_s = _Mark.now([one.service]), load * one.tiles_per_s
    generator_s, began = time.process_time(), time.monotonic()
    outcomes = send_at_rate(one.service.target, bodies, per_s, seconds, seed=round(load * 100))
    generator_cores = (time.process_time() - generator_s) / (time.monotonic() - began)
    point = {"load": load, "offered_per_s": per_s, **summarise(outcomes, seconds)}
    return point | {"generator_cores": generator_cores} | mark.until_now([one.service])


@dataclass(frozen=True, slots=True)
class _Mark:
    """Counters at the beginning of a part of the measurement."""

    counters: Counters
    own_s: float

    @classmethod
    def now(cls, services: Sequence[Service]) -> _Mark:
        return cls(read_counters(), _own_s(services))

    def until_now(self, services: Sequence[Service]) -> dict[str, float]:
        found = disturbance(self.counters, read_counters(), _own_s(services) - self.own_s)
        return {"other_cores": found.other_cores, "stolen_cores": found.stolen_cores}


def _own_s(services: Sequence[Service]) -> float:
    return time.process_time() + sum(service.cpu_s() for service in services)


def _tell(what: str) -> None:
    print(f"sizing: cores: {what}", file=sys.stderr)
