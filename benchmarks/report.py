"""Medians over rounds, and the ratios that the service is judged by, from a results file."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from benchmarks.publish import Results
from benchmarks.servers import NAIVE, OURS, OURS_INT8, OURS_SAVEDMODEL, SAVEDMODEL_FASTAPI, SERVERS

CHOSEN_CLIENTS: Final = 8
"""Number of clients at which servers are compared."""

BATCH_CLIENTS: Final = 4


@dataclass(frozen=True, slots=True)
class Ratio:
    """A measured value with its goal; `value` is None if it was not measured."""

    what: str
    value: float | None
    bound: Literal["at least", "at most"]
    goal: float
    unit: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None if nothing was measured."""
        if self.value is None:
            return None
        return self.value >= self.goal if self.bound == "at least" else self.value <= self.goal


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest-rank percentile of at least one value."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Least-squares slope of `ys` over `xs`; 0 if all `xs` are equal."""
    return statistics.linear_regression(xs, ys).slope if len(set(xs)) > 1 else 0.0


def quotient(value: float | None, by: float | None) -> float | None:
    """`value / by`; None if either is None or `by` is 0."""
    return value / by if value is not None and by else None


def median_cell(
    results: Results, server: str, key: str, clients: int = CHOSEN_CLIENTS, body: str = "multipart"
) -> float | None:
    """Median over rounds of one number of one server; None if it was not measured."""
    cells = results["servers"].get(server, {}).get("cells", {})
    loads = cells.get(body, {}).get(str(clients), [])
    return statistics.median(load[key] for load in loads) if loads else None


def median_of(values: Sequence[float]) -> float | None:
    """The median; None if there are no values."""
    return statistics.median(values) if values else None


def best_peer(results: Results, clients: int = CHOSEN_CLIENTS) -> tuple[str, float] | None:
    """The fastest peer and its tiles per second."""
    rates = {
        name: rate
        for name in results["servers"]
        if SERVERS[name].is_peer
        and (rate := median_cell(results, name, "tiles_per_s", clients)) is not None
    }
    return max(rates.items(), key=lambda item: item[1]) if rates else None


def limit_of(results: Results, precision: str, key: str = "tiles_per_s") -> float | None:
    """Median of the in-process limit over rounds; None if it was not measured."""
    return median_of(results["in_process"].get(precision, {}).get(key, []))


def ratios(results: Results) -> list[Ratio]:
    """The ratios that the service is judged by, in the order of the report."""
    ours = median_cell(results, OURS, "tiles_per_s")
    best = best_peer(results)
    best_rate = best[1] if best else None
    limit = limit_of(results, "fp32")
    naive = median_cell(results, NAIVE, "tiles_per_s")
    raw = median_cell(results, OURS, "tiles_per_s", body="raw")
    int8 = median_cell(results, OURS_INT8, "tiles_per_s")
    saved_model = median_cell(results, OURS_SAVEDMODEL, "tiles_per_s")
    batch = median_cell(results, OURS, "tiles_per_s", BATCH_CLIENTS, "batch")
    one_client = median_cell(results, OURS, "p50_ms", 1)
    p50, p99 = median_cell(results, OURS, "p50_ms"), median_cell(results, OURS, "p99_ms")
    peer_saved_model = median_cell(results, SAVEDMODEL_FASTAPI, "tiles_per_s")
    folder = median_of(results.get("folder", {}).get("steady_tiles_per_s", []))
    server = results["servers"].get(OURS, {})
    at_8 = f"{CHOSEN_CLIENTS} clients"
    return [
        Ratio(f"tiles/s / best peer, {at_8}", quotient(ours, best_rate), "at least", 4),
        Ratio(f"tiles/s / naive FastAPI, {at_8}", quotient(ours, naive), "at least", 15),
        Ratio(f"tiles/s / in-process limit, {at_8}", quotient(ours, limit), "at least", 0.85),
        Ratio(f"raw body / multipart, {at_8}", quotient(raw, ours), "at least", 1),
        Ratio(f"p99 / p50, {at_8}", quotient(p99, p50), "at most", 2),
        Ratio(f"int8 / best peer, {at_8}", quotient(int8, best_rate), "at least", 5.5),
        Ratio(
            "p50 with 1 client / one tile in process",
            quotient(one_client, limit_of(results, "fp32", "one_tile_ms")),
            "at most",
            1.15,
        ),
        Ratio("start to ready", median_of(server.get("ready_s", [])), "at most", 2, " s"),
        Ratio("peak memory", median_of(server.get("peak_rss_mib", [])), "at most", 400, " MiB"),
        Ratio("`osteo classify` / in-process limit", quotient(folder, limit), "at least", 0.9),
        Ratio("`/v1/classify/batch` / in-process limit", quotient(batch, limit), "at least", 0.9),
        Ratio(
            f"SavedModel / FastAPI + SavedModel, {at_8}",
            quotient(saved_model, peer_saved_model),
            "at least",
            1.5,
        ),
        *_overload_ratios(results.get("overload")),
    ]


def _overload_ratios(overload: dict[str, Any] | None) -> list[Ratio]:
    if not overload:
        return []
    load, clients = overload["waiting"], f"{overload['clients']} clients"
    goodput = quotient(load["tiles_per_s"], overload["peak_tiles_per_s"])
    rejection = (load["refusal_ms"] or {}).get("p99")
    readiness = (load["readiness_ms"] or {}).get("p99")
    n_other = sum(load["other_statuses"].values()) + load["timeouts"] + load["socket_errors"]
    return [
        Ratio(f"goodput / peak, {clients}", goodput, "at least", 0.9),
        Ratio(f"p99 of a 429, {clients}", rejection, "at most", 50, " ms"),
        Ratio(f"p99 of `/readyz`, {clients}", readiness, "at most", 50, " ms"),
        Ratio(f"neither 200 nor 429, {clients}", float(n_other), "at most", 0),
    ]
