"""A simulation of tiles that arrive at one or several services, wait, and are classified.

Each service (pod) has a first-in, first-out queue in front of its workers, and refuses a request at
once if the tiles in flight or the estimated seconds of their work exceed the limits, as
`app.serving.admission` does. Nobody tries again. Tiles are simulated in the order of their arrival:
a heap of the times at which workers become free replaces a list of events.
"""

from __future__ import annotations

import heapq
import math
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Balance = Literal["random", "least"]
"""Requests go to a random pod (kube-proxy) or to the one with the fewest tiles (an ingress)."""

REFUSED: Final = -1.0
"""The latency of a request that was answered with 429."""
LOST: Final = -2.0
"""The latency of a request that was not answered, because its node was lost."""


@dataclass(frozen=True, slots=True)
class Pod:
    """What a service does with a tile.

    Attributes:
        n_workers: tiles that are worked on at once.
        busy_s: times for which a tile occupies a worker while the others work too; drawn from.
        alone_s: the same for a tile that is alone in the service; None if it is no different.
        serial_s: time of a tile in the event loop, which handles one request at a time.
        max_tiles: limit on tiles in flight.
        max_queue_s: limit on the estimated time of the tiles in flight.
    """

    n_workers: int
    busy_s: Sequence[float]
    alone_s: Sequence[float] | None = None
    serial_s: float = 0.0
    max_tiles: float = math.inf
    max_queue_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Outage:
    """Some of the pods stop, and as many start again later.

    Attributes:
        n_pods: how many, at least 1.
        begin_s: when their node is lost, with the tiles in it.
        noticed_s: from then on no further requests are sent to them.
        end_s: when others in their place take requests.
    """

    n_pods: int
    begin_s: float
    noticed_s: float
    end_s: float


class Outcome(NamedTuple):
    """One request: when it arrived, and seconds until its answer, or `REFUSED` or `LOST`."""

    at_s: float
    latency_s: float


class _RunningPod:
    def __init__(self, pod: Pod, rng: random.Random) -> None:
        self._pod, self._rng = pod, rng
        self._mean_s = statistics.fmean(pod.busy_s)
        self._free_at = [0.0] * pod.n_workers
        self._loop_free_at = 0.0
        self._departures: list[float] = []

    def n_tiles(self, at_s: float) -> int:
        """Tiles in flight."""
        while self._departures and self._departures[0] <= at_s:
            heapq.heappop(self._departures)
        return len(self._departures)

    def send(self, at_s: float, n_tiles: int) -> float | None:
        """Time of the answer to a request; None if it is refused."""
        pod, n_ahead = self._pod, self.n_tiles(at_s)
        queue_s = n_ahead * self._mean_s / pod.n_workers
        if n_ahead + n_tiles > pod.max_tiles or queue_s > pod.max_queue_s:
            return None
        begin_s = max(at_s, self._loop_free_at)
        self._loop_free_at = begin_s + n_tiles * pod.serial_s
        if n_tiles == 1:  # most requests, of which a plan simulates a hundred thousand
            return self._classify(begin_s)
        return max(self._classify(begin_s) for _ in range(n_tiles))

    def _classify(self, at_s: float) -> float:
        is_alone = not self._departures
        start_s = max(at_s, self._free_at[0])
        times_s = self._pod.alone_s if is_alone and self._pod.alone_s else self._pod.busy_s
        done_s = start_s + times_s[int(self._rng.random() * len(times_s))]
        heapq.heapreplace(self._free_at, done_s)
        heapq.heappush(self._departures, done_s)
        return done_s


def poisson_arrivals(
    per_s: float, seconds: float, rng: random.Random, n_tiles: int = 1
) -> Iterator[tuple[float, int]]:
    """Times of requests of `n_tiles` tiles each that come to `per_s` tiles a second on average."""
    at_s = 0.0 if per_s else math.inf
    while (at_s := at_s + rng.expovariate((per_s or 1.0) / n_tiles)) < seconds:
        yield at_s, n_tiles


def simulate(
    pods: Sequence[Pod],
    arrivals: Iterator[tuple[float, int]],
    rng: random.Random,
    balance: Balance = "random",
    outage: Outage | None = None,
) -> list[Outcome]:
    """Send requests to pods; returns their outcomes in the order of their arrival.

    Args:
        pods: at least one.
        arrivals: time and number of tiles of each request, in order of time.
        rng: decides pods and times of tiles.
        balance: how requests are spread over the pods.
        outage: the first pods of the list stop for a while.
    """
    running = [_RunningPod(pod, rng) for pod in pods]
    n_lost = outage.n_pods if outage else 0
    is_back = False
    outcomes = []
    for at_s, n_tiles in arrivals:
        if outage and at_s >= outage.end_s and not is_back:
            running[:n_lost] = [_RunningPod(pod, rng) for pod in pods[:n_lost]]
            is_back = True
        is_out = outage is not None and outage.begin_s <= at_s < outage.end_s
        if outage and is_out and at_s >= outage.noticed_s:
            chosen = _choose(running, n_lost, at_s, rng, balance)
        else:
            # Until the loss is noticed, lost pods get their share as if they answered.
            chosen = _choose(running, 0, at_s, rng, "random" if is_out else balance)
        if chosen is None or (is_out and chosen < n_lost):
            outcomes.append(Outcome(at_s, LOST))
            continue
        done_s = running[chosen].send(at_s, n_tiles)
        latency_s = REFUSED if done_s is None else done_s - at_s
        if outage and done_s and chosen < n_lost and at_s < outage.begin_s < done_s:
            latency_s = LOST
        outcomes.append(Outcome(at_s, latency_s))
    return outcomes


def _choose(
    running: Sequence[_RunningPod], first: int, at_s: float, rng: random.Random, balance: Balance
) -> int | None:
    """Index of the pod that gets a request, at least `first`; None if there is none."""
    if first >= len(running):
        return None
    if balance == "random":
        return first + int(rng.random() * (len(running) - first))
    return min(range(first, len(running)), key=lambda i: (running[i].n_tiles(at_s), rng.random()))
