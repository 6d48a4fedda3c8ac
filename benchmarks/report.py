"""Numbers made of numbers: medians over rounds, the ratios that are claimed, and their Markdown.

Everything here is pure and works on the results file, so a report can be made again from it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from benchmarks.servers import NAIVE, OURS, OURS_INT8, OURS_SAVEDMODEL, SAVEDMODEL_FASTAPI, SERVERS

Results = dict[str, Any]
"""What `benchmarks/results/serving.json` holds; `benchmarks.rounds` writes it."""

CHOSEN_CLIENTS: Final = 8
"""The crowd at which servers are compared."""

BATCH_CLIENTS: Final = 4


@dataclass(frozen=True, slots=True)
class Ratio:
    """A claim: what was measured, what is wanted; None where it was not measured."""

    what: str
    value: float | None
    bound: Literal["at least", "at most"]
    goal: float
    unit: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None where nothing was measured."""
        if self.value is None:
            return None
        return self.value >= self.goal if self.bound == "at least" else self.value <= self.goal


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of at least one value."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Least-squares slope of `ys` over `xs`; 0 where there is no line to speak of."""
    return statistics.linear_regression(xs, ys).slope if len(set(xs)) > 1 else 0.0


def quotient(value: float | None, by: float | None) -> float | None:
    """`value / by`; None where either was not measured or `by` is 0."""
    return value / by if value is not None and by else None


def median_cell(
    results: Results, server: str, key: str, clients: int = CHOSEN_CLIENTS, body: str = "multipart"
) -> float | None:
    """The median over rounds of one number of one server, or None where it was not measured."""
    cells = results["servers"].get(server, {}).get("cells", {})
    loads = cells.get(body, {}).get(str(clients), [])
    return statistics.median(load[key] for load in loads) if loads else None


def median_of(values: Sequence[float]) -> float | None:
    """The median, or None of nothing."""
    return statistics.median(values) if values else None


def best_peer(results: Results, clients: int = CHOSEN_CLIENTS) -> tuple[str, float] | None:
    """The fastest peer and its tiles a second."""
    rates = {
        name: rate
        for name in results["servers"]
        if SERVERS[name].is_peer
        and (rate := median_cell(results, name, "tiles_per_s", clients)) is not None
    }
    return max(rates.items(), key=lambda item: item[1]) if rates else None


def limit_of(results: Results, precision: str, key: str = "tiles_per_s") -> float | None:
    """The in-process limit's median."""
    return median_of(results["in_process"].get(precision, {}).get(key, []))


def ratios(results: Results) -> list[Ratio]:
    """Every claim of the service, in the order it is argued."""
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
    second_row = median_cell(results, SAVEDMODEL_FASTAPI, "tiles_per_s")
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
            "p50 of one client / one tile in process",
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
            quotient(saved_model, second_row),
            "at least",
            1.5,
        ),
        *_overload_ratios(results.get("overload")),
    ]


def _overload_ratios(overload: dict[str, Any] | None) -> list[Ratio]:
    if not overload:
        return []
    crowd, who = overload["waiting"], f"{overload['clients']} clients"
    goodput = quotient(crowd["tiles_per_s"], overload["peak_tiles_per_s"])
    refusal = (crowd["refusal_ms"] or {}).get("p99")
    readiness = (crowd["readiness_ms"] or {}).get("p99")
    n_other = sum(crowd["other_statuses"].values()) + crowd["timeouts"] + crowd["socket_errors"]
    return [
        Ratio(f"goodput / peak, {who}", goodput, "at least", 0.9),
        Ratio(f"p99 of a refusal, {who}", refusal, "at most", 50, " ms"),
        Ratio(f"p99 of `/readyz`, {who}", readiness, "at most", 50, " ms"),
        Ratio(f"neither 200 nor 429, {who}", float(n_other), "at most", 0),
    ]


def replace_between_markers(page: str, text: str, name: str = "serving") -> str:
    """Put text between the markers `<!-- NAME:begin -->` and `<!-- NAME:end -->` of a page.

    Raises:
        ValueError: the page lacks a marker.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    head, begin_found, rest = page.partition(begin)
    _, end_found, tail = rest.partition(end)
    if not begin_found or not end_found:
        raise ValueError(f"the page needs the markers {begin} and {end}")
    return f"{head}{begin}\n{text.strip()}\n{end}{tail}"
