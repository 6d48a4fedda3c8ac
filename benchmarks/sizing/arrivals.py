"""Sends tiles to a service at random times, however long answers take (an open loop)."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.access.clients import Answers, Target, connect, disconnect, exchange
from benchmarks.sizing.queueing import LOST, REFUSED, Outcome, poisson_arrivals

_TIMEOUT_S: Final = 60.0
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class _Sender:
    target: Target
    idle: list[_Connection]
    outcomes: list[Outcome]
    began: float

    async def send(self, request: bytes) -> None:
        """Send a request on an idle connection, or on a new one, and note the outcome."""
        sent_at, answers = time.perf_counter(), Answers()
        connection = None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                connection = self.idle.pop() if self.idle else await connect(self.target)
                await exchange(*connection, request, answers)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # counted as lost
        latency_s = time.perf_counter() - sent_at
        if answers.statuses[200]:
            self.idle.append(connection) if connection else None
        else:
            latency_s = REFUSED if answers.statuses[429] else LOST
            if connection:  # a refusal on the head of a request may leave its body unread
                await disconnect([connection[1]])
        self.outcomes.append(Outcome(sent_at - self.began, latency_s))


def send_at_rate(
    target: Target, bodies: Sequence[bytes], per_s: float, seconds: float, seed: int
) -> list[Outcome]:
    """Send tiles at random times, at a fixed mean rate, and wait for all answers.

    Args:
        target: where to.
        bodies: encoded tiles, of which each request takes the next.
        per_s: mean number of tiles a second.
        seconds: for how long tiles are sent.
        seed: decides the times.
    """
    return asyncio.run(_send_at_rate(target, bodies, per_s, seconds, seed))


def send_with_pauses(
    target: Target, bodies: Sequence[bytes], pause_s: float, seconds: float, seed: int
) -> list[Outcome]:
    """Send one tile after the other, with pauses of random length: no tile meets another.

    Unlike a client that never pauses, it finds the service as a random caller does: other work has
    had the cores and their caches meanwhile.

    Args:
        target: where to.
        bodies: encoded tiles, of which each request takes the next.
        pause_s: mean pause after each answer.
        seconds: for how long tiles are sent.
        seed: decides the pauses.
    """
    return asyncio.run(_send_with_pauses(target, bodies, pause_s, seconds, seed))


async def _send_with_pauses(
    target: Target, bodies: Sequence[bytes], pause_s: float, seconds: float, seed: int
) -> list[Outcome]:
    requests = itertools.cycle([target.request(body) for body in bodies])
    rng = random.Random(seed)  # noqa: S311 - not for cryptography
    sender = _Sender(target, [], [], time.perf_counter())
    while time.perf_counter() - sender.began < seconds:
        await sender.send(next(requests))
        await asyncio.sleep(rng.expovariate(1 / pause_s))
    await disconnect(writer for _, writer in sender.idle)
    return sender.outcomes


async def _send_at_rate(
    target: Target, bodies: Sequence[bytes], per_s: float, seconds: float, seed: int
) -> list[Outcome]:
    requests = [target.request(body) for body in bodies]
    rng = random.Random(seed)  # noqa: S311 - not for cryptography
    sender = _Sender(target, [], [], time.perf_counter())
    async with asyncio.TaskGroup() as tasks:
        for i, (at_s, _) in enumerate(poisson_arrivals(per_s, seconds, rng)):
            await asyncio.sleep(sender.began + at_s - time.perf_counter())
            tasks.create_task(sender.send(requests[i % len(requests)]))
    await disconnect(writer for _, writer in sender.idle)
    return sender.outcomes
