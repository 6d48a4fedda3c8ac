"""Compares services that take turns, so that a slow moment of the machine affects all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.access.clients import Answers
from benchmarks.access.services import Service

Load = Callable[[Service], Answers]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of one service.

    Attributes:
        per_s: answers per second.
        cpu_ms: processor time of the service per answer, in milliseconds.
        latencies_ms: of the answers, in milliseconds.
    """

    per_s: float
    cpu_ms: float
    latencies_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A service beside the first one; medians over the rounds.

    Attributes:
        title: of the service.
        per_s: answers per second.
        cpu_ms: processor time of the service per answer, in milliseconds.
        per_s_ratio: median of the ratios to the first service's turn of the same round.
        cpu_ratio: the same of the processor time.
        cpu_quartiles: lower and upper quartile of those ratios.
        added_cpu_us: median of the differences of the processor time, in microseconds.
        p50_ms: median latency over all rounds.
        p99_ms: 99th percentile.
    """

    title: str
    per_s: float
    cpu_ms: float
    per_s_ratio: float
    cpu_ratio: float
    cpu_quartiles: tuple[float, float]
    added_cpu_us: float
    p50_ms: float
    p99_ms: float

    def to_json(self) -> dict[str, Any]:
        """The entry in the results file."""
        return asdict(self)


def compare(services: Sequence[Service], load: Load, n_rounds: int) -> list[Comparison]:
    """Load services in turn and compare each with the first.

    Args:
        services: the first one is the baseline.
        load: sends requests to a service; its answers must all be the expected ones.
        n_rounds: turns of each service; one more before them is not counted.
    """
    turns: list[list[Turn]] = [[] for _ in services]
    for number in range(-1, n_rounds):
        # In rotating order, so that none always follows the same one.
        order = [(number + place) % len(services) for place in range(len(services))]
        for i in order:
            turn = take_turn(services[i], load)
            if number >= 0:
                turns[i].append(turn)
    return [
        _compared(service.title, own, turns[0])
        for service, own in zip(services, turns, strict=True)
    ]


def take_turn(service: Service, load: Load) -> Turn:
    """Load a service once."""
    before_s = service.cpu_s()
    answers = load(service)
    cpu_s = service.cpu_s() - before_s
    n_answers = answers.statuses.total()
    return Turn(
        n_answers / answers.seconds,
        1e3 * cpu_s / n_answers,
        tuple(1e3 * latency for latency in answers.latencies_s),
    )


def _compared(title: str, own: Sequence[Turn], baseline: Sequence[Turn]) -> Comparison:
    pairs = list(zip(own, baseline, strict=True))
    cpu_ratios = sorted(turn.cpu_ms / base.cpu_ms for turn, base in pairs)
    latencies = Answers(latencies_s=[ms / 1e3 for turn in own for ms in turn.latencies_ms])
    return Comparison(
        title,
        statistics.median(turn.per_s for turn in own),
        statistics.median(turn.cpu_ms for turn in own),
        statistics.median(turn.per_s / base.per_s for turn, base in pairs),
        statistics.median(cpu_ratios),
        (cpu_ratios[len(pairs) // 4], cpu_ratios[-1 - len(pairs) // 4]),
        statistics.median(1e3 * (turn.cpu_ms - base.cpu_ms) for turn, base in pairs),
        latencies.latency_ms(50),
        latencies.latency_ms(99),
    )
