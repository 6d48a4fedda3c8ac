"""Soak test: whether memory stays flat over very many requests."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.bodies import BodyFiles
from benchmarks.processes import RunningServer
from benchmarks.report import slope
from benchmarks.wrk import run_wrk

_CLIENTS: Final = 8
_N_SAMPLES: Final = 40
_WARM_UP_S: Final = 2.0
# Allocators and caches fill at first; what matters is whether memory grows after that.
_SETTLED_SHARE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory after a number of requests."""

    n_requests: int
    seconds: float
    rss_mib: float


def soak(server: RunningServer, bodies: BodyFiles, n_requests: int) -> dict[str, Any]:
    """Post at least `n_requests` and sample memory about forty times meanwhile.

    It gives up after four times the expected duration, in case the server hangs.
    """
    warm_up = run_wrk(server.classify_url, bodies, _CLIENTS, _WARM_UP_S)
    expected_s = n_requests / max(1.0, warm_up.tiles_per_s)
    started = time.monotonic()
    n_done = n_failed = 0
    samples = [Sample(0, 0.0, server.rss_mib())]
    while n_done < n_requests and time.monotonic() - started < 4 * expected_s + 10:
        load = run_wrk(server.classify_url, bodies, _CLIENTS, expected_s / _N_SAMPLES)
        n_done += load.n_replies
        n_failed += load.n_failed
        samples.append(Sample(n_done, time.monotonic() - started, server.rss_mib()))
    return summarise(samples, n_failed) | {"peak_rss_mib": server.peak_rss_mib()}


def summarise(samples: list[Sample], n_failed: int) -> dict[str, Any]:
    """Summarise the samples: memory at the start, after settling and at the end, and its growth."""
    settled = samples[int(len(samples) * _SETTLED_SHARE) :]
    mib_per_request = slope([s.n_requests for s in settled], [s.rss_mib for s in settled])
    return {
        "n_requests": samples[-1].n_requests,
        "n_failed": n_failed,
        "seconds": samples[-1].seconds,
        "first_rss_mib": samples[0].rss_mib,
        "settled_rss_mib": settled[0].rss_mib,
        "last_rss_mib": samples[-1].rss_mib,
        "mib_per_10000_requests": mib_per_request * 10_000,
        "samples": [asdict(sample) for sample in samples],
    }
