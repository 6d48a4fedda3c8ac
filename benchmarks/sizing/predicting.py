"""Predicts the measured points with the simulation, from other measurements than those points.

A pod of the simulation knows the tiles a second of a saturated service and the latencies of tiles
that meet no other. What it says about random arrivals is a prediction, which is compared with them.
"""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Mapping
from typing import Any, Final

from benchmarks.sizing.lost_node import BEFORE_S, lose_node
from benchmarks.sizing.outcomes import summarise
from benchmarks.sizing.queueing import Outage, Pod, poisson_arrivals, simulate

RUNS: Final = 21
"""Simulated runs of the length of a measured one, of which the median and the range are told."""
_KEYS: Final = ("tiles_per_s", "p50_ms", "p99_ms", "refused_share")
_MORE_CORES: Final = (4, 8, 16)
_CURVE_LOADS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
CURVE_TILES: Final = 6_000
LOST_OF: Final = (2, 3, 4)
"""Numbers of pods, of which one is lost."""
LOST_AT: Final = (0.4, 0.6, 0.8)
"""Offered tiles a second, as shares of what all pods answer."""
LOST_TARGET_P99_S: Final = 0.5
_MISSING_S: Final = 60.0


def tiles_per_s(measured: Mapping[str, Any]) -> float:
    """Median of the saturated rounds."""
    return float(statistics.median(turn["tiles_per_s"] for turn in measured["saturated"]))


def pod_of(measured: Mapping[str, Any], limits: Mapping[str, float], n_cores: int = 0) -> Pod:
    """The pod that the simulation uses.

    Args:
        measured: one entry of `measured` in the results.
        limits: `limits` of the results.
        n_cores: extrapolates to another number of cores; 0 for the measured one.
    """
    n_measured = measured["cores"]
    mean_alone_ms = statistics.fmean(measured["alone_ms"])
    mean_busy_s = n_measured / tiles_per_s(measured)
    serial_ms = statistics.median(turn["serial_ms"] for turn in measured["saturated"])
    return Pod(
        n_workers=n_cores or n_measured,
        # The latencies of tiles that meet no other, scaled to the mean of a saturated service.
        busy_s=tuple(value / mean_alone_ms * mean_busy_s for value in measured["alone_ms"]),
        alone_s=tuple(value / 1e3 for value in measured["alone_ms"]),
        serial_s=serial_ms / 1e3,
        max_tiles=limits["max_tiles"],
        max_queue_s=limits["max_queue_s"],
    )


def predict(results: Mapping[str, Any]) -> dict[str, Any]:
    """Predict every measured point, the curves between them, and more cores than were measured."""
    return {
        "points": [
            [_predict_point(measured, point, results) for point in measured["points"]]
            for measured in results["measured"]
        ],
        "curves": [_curve(measured, results["limits"]) for measured in results["measured"]],
        "cores": _cores(results),
        "lost_node": _lost_node(results),
    }


def p99_margin(results: Mapping[str, Any], n_cores: int) -> float:
    """Median of the measured 99th percentiles over the predicted ones, below saturation.

    Returns:
        At least 1; 1 if nothing was compared.
    """
    predicted = results.get("predicted", {}).get("points", [])
    ratios = [
        point["p99_ms"] / prediction["p99_ms"][0]
        for entry, predictions in zip(results["measured"], predicted, strict=False)
        if entry["cores"] == n_cores
        for point, prediction in zip(entry["points"], predictions, strict=True)
        if point["load"] < 1
    ]
    return max(1.0, statistics.median(ratios)) if ratios else 1.0


def _predict_point(
    measured: Mapping[str, Any], point: Mapping[str, Any], results: Mapping[str, Any]
) -> dict[str, list[float]]:
    """Median, least and greatest of some runs."""
    pod, seconds = pod_of(measured, results["limits"]), results["seconds"]
    runs = [_run(pod, point["offered_per_s"], seconds, seed) for seed in range(RUNS)]
    return {
        key: [float(of(values)) for of in (statistics.median, min, max)]
        for key in _KEYS
        if (values := [run[key] for run in runs if run[key] is not None])
    }


def _run(pod: Pod, per_s: float, seconds: float, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)  # noqa: S311 - not for cryptography
    return summarise(simulate([pod], poisson_arrivals(per_s, seconds, rng), rng), seconds)


def _curve(measured: Mapping[str, Any], limits: Mapping[str, float]) -> list[dict[str, float]]:
    pod, most = pod_of(measured, limits), tiles_per_s(measured)
    curve = []
    for load in _CURVE_LOADS:
        run = _run(pod, load * most, CURVE_TILES / (load * most), seed=0)
        curve.append({"offered_per_s": load * most, **{key: run[key] for key in _KEYS}})
    return curve


def _cores(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tiles a second by number of cores: measured, predicted from fewer, and beyond."""
    measured = {entry["cores"]: entry for entry in results["measured"]}
    first, last = measured[min(measured)], measured[max(measured)]
    rows: list[dict[str, Any]] = []
    for n_cores in sorted({*measured, *_MORE_CORES}):
        by = first if n_cores in measured else last
        pod = pod_of(by, results["limits"], n_cores)
        offered_per_s = 1.5 * n_cores * tiles_per_s(by) / by["cores"]
        run = _run(pod, offered_per_s, CURVE_TILES / offered_per_s, seed=0)
        found = tiles_per_s(measured[n_cores]) if n_cores in measured else None
        predicted = run["tiles_per_s"] if n_cores != first["cores"] else None
        rows.append({"cores": n_cores, "measured": found, "predicted": predicted})
    return rows


def _lost_node(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One of several pods of the largest measured size is lost for a minute, which is noticed."""
    measured = results["measured"][-1]
    pod, pod_per_s = pod_of(measured, results["limits"]), tiles_per_s(measured)
    outage = Outage(1, BEFORE_S, BEFORE_S, BEFORE_S + _MISSING_S)
    rows = []
    for n_pods, load in itertools.product(LOST_OF, LOST_AT):
        found = lose_node([pod] * n_pods, load * n_pods * pod_per_s, outage, LOST_TARGET_P99_S)
        kept = {phase: found[phase] for phase in ("before", "missing", "recovered_s")}
        rows.append({"pods": n_pods, "load": load, **kept})
    return rows
