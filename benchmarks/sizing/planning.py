"""Answers how many replicas, cores and gibibytes a day's load needs, from the results file."""

from __future__ import annotations

import dataclasses
import math
import random
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.core.errors import counted
from benchmarks.sizing.lost_node import BEFORE_S, lose_node
from benchmarks.sizing.outcomes import summarise
from benchmarks.sizing.predicting import p99_margin, pod_of, tiles_per_s
from benchmarks.sizing.queueing import Balance, Outage, Pod, poisson_arrivals, simulate

SLIDE_FACTOR: Final = 1.23
"""How much longer the 99th percentile of single tiles is while a slide is classified: measured, see
docs/slide-jobs.md."""
MAX_UTILISATION: Final = 0.8
"""Share of the capacity that a day's work may take, slides included; the rest is for bad days."""
MAX_REPLICAS: Final = 200
_MAX_REFUSED: Final = 0.001
_PEAK_TILES: Final = 20_000
_LEAST_PER_S: Final = 1e-6
"""With fewer tiles a second no request meets another."""
_DECODE_PROCESS_MIB: Final = 45
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of the service.

    Attributes:
        tiles_per_day: single tiles, whose callers wait.
        slides_per_day: whole slides, which are classified in the background.
        tiles_per_slide: tissue tiles of a slide.
        hours: in which the day's work arrives.
        peak_factor: tiles a second at the peak over the mean of those hours.
        target_p99_s: 99th percentile of the time of a single tile at the peak.
        request_tiles: tiles of one request.
    """

    tiles_per_day: float
    slides_per_day: float = 0.0
    tiles_per_slide: float = 600.0
    hours: float = 10.0
    peak_factor: float = 4.0
    target_p99_s: float = 0.5
    request_tiles: int = 1

    @property
    def peak_per_s(self) -> float:
        """Single tiles a second at the peak."""
        return self.tiles_per_day / (self.hours * 3600) * self.peak_factor

    @property
    def mean_per_s(self) -> float:
        """All tiles a second, those of slides included, over the hours."""
        slide_tiles = self.slides_per_day * self.tiles_per_slide
        return (self.tiles_per_day + slide_tiles) / (self.hours * 3600)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the service runs.

    Attributes:
        pod_cores: cores of a pod; one of the measured numbers.
        nodes: over which the pods are spread evenly.
        may_lose_node: whether the demand must be met with one node less.
        balance: how requests are spread over the pods.
        noticed_s: time after which no requests are sent to a lost node.
        replaced_s: time after which its pods run elsewhere.
        gpu_cost_cores: cores that cost as much as a GPU; None if unknown.
    """

    pod_cores: int = 2
    nodes: int = 2
    may_lose_node: bool = True
    balance: Balance = "random"
    noticed_s: float = 50.0
    replaced_s: float = 360.0
    gpu_cost_cores: float | None = None


def plan(
    results: Mapping[str, Any],
    demand: Demand,
    cluster: Cluster,
    gpu: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Find the least number of replicas that meets a demand.

    Args:
        results: of `measure`.
        demand: of a day.
        cluster: where it runs.
        gpu: the results of the GPU; None if none were measured.

    Raises:
        ValueError: pods of this size were not measured, no number of replicas up to
            `MAX_REPLICAS` meets the demand, or the only node may be lost.
    """
    if cluster.may_lose_node and cluster.nodes == 1:
        raise ValueError("one node cannot be lost: --nodes 2, or --may-not-lose-a-node.")
    measured = _measured(results, cluster.pod_cores)
    pod, pod_per_s = pod_of(measured, results["limits"]), tiles_per_s(measured)
    margin = p99_margin(results, cluster.pod_cores)
    factor = margin * (SLIDE_FACTOR if demand.slides_per_day else 1.0)
    replicas, lost, at_peak = _least_replicas(pod, factor, demand, cluster)
    return {
        "demand": dataclasses.asdict(demand),
        "cluster": dataclasses.asdict(cluster),
        "peak_tiles_per_s": demand.peak_per_s,
        "mean_tiles_per_s": demand.mean_per_s,
        "tiles_per_s_per_pod": pod_per_s,
        "replicas": replicas,
        "cores": replicas * cluster.pod_cores,
        "pods_of_a_node": lost,
        "p99_margin": margin,
        "p99_ms_at_peak": at_peak["p99_ms"],
        "peak_utilisation": demand.peak_per_s / (replicas * pod_per_s),
        "day_utilisation": demand.mean_per_s / (replicas * pod_per_s),
        "slide_minutes": demand.tiles_per_slide / pod_per_s / 60,
        "memory": memory_of(results, cluster.pod_cores, has_slides=demand.slides_per_day > 0),
        "lost_node": _lose_node(pod, replicas, lost, demand, cluster),
        "gpu": weigh_gpu(gpu, demand.peak_per_s, cluster.gpu_cost_cores),
    }


def memory_of(results: Mapping[str, Any], pod_cores: int, *, has_slides: bool) -> dict[str, float]:
    """Memory of a pod in MiB: what is usual, and what the limits of docs/limits.md add up to."""
    measured, limits = _measured(results, pod_cores), results["limits"]
    decoding_mib = pod_cores * (_DECODE_PROCESS_MIB + limits["max_decode_bytes"] / _MIB)
    most_mib = measured["peak_rss_mib"] + decoding_mib + limits["max_upload_bytes"] / _MIB
    if has_slides:
        most_mib += limits["slide_memory_bytes"] / _MIB
    return {
        "idle_mib": measured["idle_rss_mib"],
        "peak_mib": measured["peak_rss_mib"],
        "request_mib": math.ceil(measured["peak_rss_mib"] / 64) * 64,
        "limit_mib": math.ceil(most_mib / 256) * 256,
    }


def weigh_gpu(
    gpu: Mapping[str, Any] | None, peak_per_s: float, cost_cores: float | None
) -> dict[str, Any] | None:
    """Compare a host with a GPU with the same host without it.

    Args:
        gpu: results of `benchmarks.gpu`, whose `setups` ran on the CPU and on the GPU of one host.
        peak_per_s: tiles a second that are needed.
        cost_cores: cores that cost as much as the GPU; None if unknown.

    Returns:
        None if no GPU was measured, or not beside the CPU of its host.
    """
    setups = [] if gpu is None else gpu["setups"]
    on_cpu = [load for setup in setups if setup["device"] == "cpu" for load in setup["loads"]]
    on_gpu = [load for setup in setups if setup["device"] != "cpu" for load in setup["loads"]]
    if gpu is None or not on_cpu or not on_gpu:
        return None
    cpu = max(on_cpu, key=lambda load: float(load["tiles_per_s"]))
    cpu_per_s, per_core = cpu["tiles_per_s"], cpu["tiles_per_s"] / cpu["busy_cores"]
    gpu_per_s = max(load["tiles_per_s"] for load in on_gpu)
    # The host and as many cores as the GPU costs answer this many without a GPU.
    without_per_s = None if cost_cores is None else cpu_per_s + cost_cores * per_core
    return {
        "name": gpu["gpu"],
        "host_cores": gpu["host"]["cores"],
        "tiles_per_s": gpu_per_s,
        "cpu_tiles_per_s": cpu_per_s,
        "replaces_cores": max(0.0, (gpu_per_s - cpu_per_s) / per_core),
        "pays_from_tiles_per_s": without_per_s,
        "pays": _pays(gpu_per_s, cpu_per_s, without_per_s, peak_per_s),
    }


def _pays(
    gpu_per_s: float, cpu_per_s: float, without_per_s: float | None, peak_per_s: float
) -> bool | None:
    if gpu_per_s <= cpu_per_s:
        return False  # at no price
    return None if without_per_s is None else gpu_per_s > without_per_s <= peak_per_s


def _measured(results: Mapping[str, Any], pod_cores: int) -> Mapping[str, Any]:
    for measured in results["measured"]:
        if measured["cores"] == pod_cores:
            return dict(measured)
    known = ", ".join(str(measured["cores"]) for measured in results["measured"])
    raise ValueError(f"pods of {counted(pod_cores, 'core')} were not measured; measured: {known}")


def _least_replicas(
    pod: Pod, factor: float, demand: Demand, cluster: Cluster
) -> tuple[int, int, dict[str, Any]]:
    """Replicas, pods of a node, and the peak as the remaining pods see it.

    `factor` is how much longer the 99th percentile is than simulated.
    """
    pod_per_s = pod.n_workers / statistics.fmean(pod.busy_s)
    for replicas in range(1, MAX_REPLICAS + 1):
        lost = math.ceil(replicas / cluster.nodes)
        left = replicas - lost if cluster.may_lose_node else replicas
        most_per_s = max(demand.mean_per_s, demand.peak_per_s)
        if left < 1 or most_per_s > MAX_UTILISATION * left * pod_per_s:
            continue
        at_peak = _at_peak(pod, left, factor, demand, cluster)
        if at_peak["p99_ms"] <= demand.target_p99_s * 1e3 and (
            at_peak["refused_share"] <= _MAX_REFUSED
        ):
            return replicas, lost, at_peak
        if _request_s(pod, factor, demand) > demand.target_p99_s:
            break
    raise ValueError(
        f"{MAX_REPLICAS} pods of {counted(cluster.pod_cores, 'core')} do not reach a 99th "
        f"percentile of {demand.target_p99_s:g} s at {demand.peak_per_s:.1f} tiles/s; a request "
        f"alone takes up to {_request_s(pod, factor, demand):.2f} s."
    )


def _request_s(pod: Pod, factor: float, demand: Demand) -> float:
    """About the 99th percentile of the time of a request that meets no other."""
    slowest_s = sorted(pod.busy_s)[int(0.99 * (len(pod.busy_s) - 1))]
    request_s = demand.request_tiles * statistics.fmean(pod.busy_s) / pod.n_workers
    return factor * max(slowest_s, request_s)


def _at_peak(
    pod: Pod, n_pods: int, factor: float, demand: Demand, cluster: Cluster
) -> dict[str, Any]:
    if demand.peak_per_s < _LEAST_PER_S:
        return {"p99_ms": _request_s(pod, factor, demand) * 1e3, "refused_share": 0.0}
    rng = random.Random(0)  # noqa: S311 - not for cryptography
    seconds = _PEAK_TILES / demand.peak_per_s
    arrivals = poisson_arrivals(demand.peak_per_s, seconds, rng, demand.request_tiles)
    found = summarise(simulate([pod] * n_pods, arrivals, rng, cluster.balance), seconds)
    p99_ms = found["p99_ms"]
    return found | {"p99_ms": math.inf if p99_ms is None else p99_ms * factor}


def _lose_node(
    pod: Pod, replicas: int, lost: int, demand: Demand, cluster: Cluster
) -> dict[str, Any]:
    outage = Outage(lost, BEFORE_S, BEFORE_S + cluster.noticed_s, BEFORE_S + cluster.replaced_s)
    pods = [pod] * replicas
    return lose_node(
        pods, demand.peak_per_s, outage, demand.target_p99_s, cluster.balance, demand.request_tiles
    )
