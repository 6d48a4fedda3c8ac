"""Throughput, latency and refusals of requests, measured or simulated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.report import percentile
from benchmarks.sizing.queueing import LOST, REFUSED, Outcome


def summarise(outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """Summarise requests of one tile each that arrived within some seconds.

    Tiles a second count the answers that came within those seconds, so that a queue which is worked
    off later does not count as throughput. Latencies are those of all answers with 200.
    """
    answered = [one for one in outcomes if one.latency_s >= 0]
    latencies_s = [one.latency_s for one in answered]
    n_in_time = sum(one.at_s + one.latency_s <= seconds for one in answered)
    n_offered = max(1, len(outcomes))
    return {
        "n_offered": len(outcomes),
        "tiles_per_s": n_in_time / seconds,
        "p50_ms": percentile(latencies_s, 50) * 1e3 if latencies_s else None,
        "p99_ms": percentile(latencies_s, 99) * 1e3 if latencies_s else None,
        "refused_share": sum(one.latency_s == REFUSED for one in outcomes) / n_offered,
        "lost_share": sum(one.latency_s == LOST for one in outcomes) / n_offered,
    }
