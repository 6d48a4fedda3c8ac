"""The simulation against closed forms of queueing theory, and what holds for every queue."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sizing.queueing import (
    LOST,
    REFUSED,
    Balance,
    Outage,
    Outcome,
    Pod,
    poisson_arrivals,
    simulate,
)

N_TILES = 60_000
QUANTILES = 2_000
EXPONENTIAL = tuple(-math.log(1 - (i + 0.5) / QUANTILES) for i in range(QUANTILES))
"""Service times of mean 1 that follow the exponential distribution."""


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - not for cryptography


def run(pod: Pod, per_s: float, n_tiles: int = N_TILES, seed: int = 0) -> list[Outcome]:
    rng = seeded(seed)
    return simulate([pod], poisson_arrivals(per_s, n_tiles / per_s, rng), rng)


def erlang_c_wait(n_workers: int, load: float) -> float:
    """Mean wait of M/M/c, in mean service times (Erlang 1917)."""
    offered = n_workers * load
    busy = offered**n_workers / math.factorial(n_workers) / (1 - load)
    some_idle = sum(offered**k / math.factorial(k) for k in range(n_workers))
    return busy / (some_idle + busy) / (n_workers * (1 - load))


@pytest.mark.parametrize(
    ("n_workers", "load"),
    [
        (2, 0.8),
        (8, 0.5),
        *(
            pytest.param(n_workers, load, marks=pytest.mark.exhaustive)
            for n_workers, load in ((1, 0.5), (1, 0.8), (2, 0.5), (8, 0.8))
        ),
    ],
)
def test_mean_wait_is_that_of_erlang_c(n_workers: int, load: float) -> None:
    outcomes = run(Pod(n_workers, EXPONENTIAL), n_workers * load)
    wait = statistics.fmean(one.latency_s for one in outcomes) - statistics.fmean(EXPONENTIAL)
    assert wait == pytest.approx(erlang_c_wait(n_workers, load), rel=0.1, abs=0.01)


@pytest.mark.parametrize(
    "load", [0.6, *(pytest.param(load, marks=pytest.mark.exhaustive) for load in (0.3, 0.8))]
)
def test_mean_wait_of_equal_tiles_is_half_of_that_of_exponential_ones(load: float) -> None:
    outcomes = run(Pod(1, (1.0,)), load)
    wait = statistics.fmean(one.latency_s for one in outcomes) - 1
    assert wait == pytest.approx(load / (2 * (1 - load)), rel=0.07)  # Pollaczek and Khinchine


def test_share_of_refused_tiles_is_that_of_erlang_b() -> None:
    # As many tiles in flight as workers: nobody waits, and M/M/c/c refuses by Erlang's B formula.
    offered, n_workers = 4.0, 5
    blocked = [offered**k / math.factorial(k) for k in range(n_workers + 1)]
    outcomes = run(Pod(n_workers, EXPONENTIAL, max_tiles=n_workers), offered)
    refused = statistics.fmean(one.latency_s == REFUSED for one in outcomes)
    assert refused == pytest.approx(blocked[-1] / sum(blocked), rel=0.05)


def test_event_loop_limits_a_pod_with_many_workers() -> None:
    pod = Pod(16, (1.0,), serial_s=0.25, max_queue_s=10)
    outcomes = run(pod, per_s=20, n_tiles=10_000)
    answered = [one for one in outcomes if one.latency_s >= 0]
    last_s = max(one.at_s + one.latency_s for one in answered)
    assert len(answered) / last_s == pytest.approx(1 / 0.25, rel=0.05)


def test_lone_tile_takes_its_own_time() -> None:
    outcomes = simulate(
        [Pod(2, (2.0,), alone_s=(1.0,))], iter([(0, 1), (0.5, 1), (9, 1)]), seeded(0)
    )
    assert [one.latency_s for one in outcomes] == [1, 2, 1]


def test_request_of_several_tiles_is_answered_with_its_last() -> None:
    (outcome,) = simulate([Pod(2, (1.0,))], iter([(0.0, 5)]), seeded(0))
    assert outcome.latency_s == 3


def test_request_is_refused_by_the_estimated_seconds_of_the_tiles_in_flight() -> None:
    pod = Pod(2, (1.0,), max_queue_s=1.4)
    outcomes = simulate([pod], iter([(0, 1), (0.1, 1), (0.2, 1), (0.3, 1), (2, 1)]), seeded(0))
    assert [one.latency_s == REFUSED for one in outcomes] == [False, False, False, True, False]


def test_lost_pod_loses_its_tiles_until_the_loss_is_noticed_and_comes_back_empty() -> None:
    arrivals: Sequence[tuple[float, int]] = [(i, 1) for i in range(20)]
    outage = Outage(1, begin_s=3.5, noticed_s=6.5, end_s=12.5)
    alone = simulate([Pod(1, (2.0,))], iter(arrivals), seeded(0), outage=outage)
    lost = [one.at_s for one in alone if one.latency_s == LOST]
    # Tiles of 0 s and 1 s are done at 2 s and 4 s, so the second is lost with its node.
    assert lost == list(range(1, 13))
    assert alone[13].latency_s == 2


def test_noticed_loss_loses_no_request_where_another_pod_is_left() -> None:
    outage = Outage(1, begin_s=5, noticed_s=5, end_s=30)
    arrivals = poisson_arrivals(0.5, 40, seeded(1))
    outcomes = simulate([Pod(1, (0.001,))] * 2, arrivals, seeded(0), outage=outage)
    assert all(one.latency_s == pytest.approx(0.001) for one in outcomes)


def test_fewest_tiles_wait_less_than_a_random_pod() -> None:
    waits = {}
    for balance in ("random", "least"):
        rng = seeded(3)
        arrivals = poisson_arrivals(3.2, 3_000, rng)
        found = simulate([Pod(1, (1.0,))] * 4, arrivals, rng, _balance(balance))
        waits[balance] = statistics.fmean(one.latency_s for one in found)
    assert waits["least"] < 0.8 * waits["random"]


@given(
    n_pods=st.integers(1, 4),
    n_workers=st.integers(1, 4),
    times_s=st.lists(st.floats(0.001, 5), min_size=1, max_size=5),
    max_tiles=st.integers(1, 10),
    per_s=st.floats(0.1, 20),
    n_tiles=st.integers(1, 4),
    seed=st.integers(0, 99),
    balance=st.sampled_from(["random", "least"]),
)
def test_every_request_has_one_outcome_within_the_limits(
    *,
    n_pods: int,
    n_workers: int,
    times_s: list[float],
    max_tiles: int,
    per_s: float,
    n_tiles: int,
    seed: int,
    balance: Balance,
) -> None:
    arrivals = list(poisson_arrivals(per_s, 30, seeded(seed), n_tiles))
    pods = [Pod(n_workers, times_s, max_tiles=max_tiles)] * n_pods
    outcomes = simulate(pods, iter(arrivals), seeded(seed), balance)
    assert [one.at_s for one in outcomes] == [at_s for at_s, _ in arrivals]
    answered = [one for one in outcomes if one.latency_s >= 0]
    assert all(one.latency_s == REFUSED for one in outcomes if one.latency_s < 0)
    assert all(one.latency_s >= min(times_s) * (1 - 1e-9) for one in answered)
    for one in answered:
        in_flight = sum(other.at_s <= one.at_s < other.at_s + other.latency_s for other in answered)
        assert in_flight <= n_pods * max_tiles  # each has a tile in flight


def _balance(name: str) -> Balance:
    return "least" if name == "least" else "random"
