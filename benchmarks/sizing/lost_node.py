"""What a lost node costs: requests while its pods are missing, and the time until all is well."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.sizing.outcomes import summarise
from benchmarks.sizing.queueing import Balance, Outage, Outcome, Pod, poisson_arrivals, simulate

BEFORE_S: Final = 30.0
"""Simulated time before the node is lost."""
_AFTER_S: Final = 60.0
_WINDOW_S: Final = 5.0
_REQUESTS: Final = 5_000
"""Fewer requests in a run say little, so it is repeated."""
_MAX_RUNS: Final = 50


def lose_node(
    pods: Sequence[Pod],
    per_s: float,
    outage: Outage,
    target_p99_s: float,
    balance: Balance = "random",
    n_tiles: int = 1,
) -> dict[str, Any]:
    """Simulate the loss of a node under a steady load.

    Args:
        pods: all pods.
        per_s: offered tiles a second.
        outage: of some of the pods; it begins at `BEFORE_S`.
        target_p99_s: the 99th percentile of the latency that counts as well.
        balance: how requests are spread.
        n_tiles: tiles of a request.

    Returns:
        A summary of each phase (`before`, `unnoticed`, `missing`, `after`; without those that take
        no time), and `recovered_s`: from the loss until the last window of 5 s in which requests
        were refused or lost, or in which the 99th percentile was above the target.
    """
    until_s = outage.end_s + _AFTER_S
    n_runs = min(_MAX_RUNS, math.ceil(_REQUESTS / max(1.0, per_s / n_tiles * until_s)))
    runs = []
    for seed in range(n_runs):
        rng = random.Random(seed)  # noqa: S311 - not for cryptography
        arrivals = poisson_arrivals(per_s, until_s, rng, n_tiles)
        runs.append(simulate(pods, arrivals, rng, balance, outage))
    ends = {
        "before": outage.begin_s,
        "unnoticed": min(outage.noticed_s, outage.end_s),
        "missing": outage.end_s,
        "after": until_s,
    }
    phases, begin_s = {}, 0.0
    for phase, end_s in ends.items():
        if end_s > begin_s:
            phases[phase] = _summary(runs, begin_s, end_s)
        begin_s = end_s
    recovered_s = [_recovered_s(run, outage, target_p99_s) for run in runs]
    return phases | {"recovered_s": statistics.median(recovered_s)}


def _summary(runs: Sequence[Sequence[Outcome]], begin_s: float, end_s: float) -> dict[str, Any]:
    """Summarise the requests that arrived in a phase of any run."""
    within = [
        Outcome(one.at_s - begin_s, one.latency_s)
        for run in runs
        for one in run
        if begin_s <= one.at_s < end_s
    ]
    found = summarise(within, end_s - begin_s)
    return found | {"tiles_per_s": found["tiles_per_s"] / len(runs)}


def _recovered_s(outcomes: Sequence[Outcome], outage: Outage, target_p99_s: float) -> float:
    # Until the loss is noticed, some requests get no answer, even if none came in the simulation.
    recovered_s = min(outage.noticed_s, outage.end_s) - outage.begin_s
    later = [one for one in outcomes if one.at_s >= outage.begin_s]

    def window_of(one: Outcome) -> int:
        return int((one.at_s - outage.begin_s) / _WINDOW_S)

    for window, found in itertools.groupby(later, window_of):
        of_window = list(found)
        n_failed = sum(one.latency_s < 0 for one in of_window)
        n_late = sum(one.latency_s > target_p99_s for one in of_window)
        if n_failed or n_late > len(of_window) / 100:
            recovered_s = max(recovered_s, (window + 1) * _WINDOW_S)
    return recovered_s
