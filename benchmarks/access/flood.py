"""What clients without a key take from those with one, and what a refused request costs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from benchmarks.access.clients import Answers, Target, connect, disconnect, exchange, send
from benchmarks.access.services import Service

N_KEYED: Final = 8
N_UNKEYED: Final = 256
UNKEYED_HEADERS: Final = {"X-Request-ID": "unkeyed"}
ALONE, ONE_ADDRESS, OWN_ADDRESSES = "alone", "one address", "an address each"
FULL: Final = "queue full, with a key"
UNKEYED: Final = "no key"
WRONG: Final = "wrong key"
FAILING: Final = "no key, from an address that keeps failing"
_LEAD_S: Final = 2.0  # until the unkeyed clients are connected
_AGAIN_S: Final = 0.1
_SETTLE_S: Final = 0.2
_IDLE_S: Final = 3.0
_STALL_BYTES: Final = 1
_MAX_ATTEMPTS: Final = 20

_networks = itertools.count(1)


def measure_goodput(
    service: Service, bodies: Sequence[bytes], n_rounds: int, seconds: float
) -> dict[str, Any]:
    """Tiles per second of clients with a key, alone and beside clients without one, in turn.

    Args:
        service: asks for a key; its target has one.
        bodies: encoded tiles, which both kinds of clients send.
        n_rounds: turns of each kind.
        seconds: length of a turn.

    Returns:
        By kind the tiles per second and the processor time of the service per tile, refusals
        included, the medians of their ratios to `ALONE` of the same round, and the refusals per
        second.
    """
    turns: dict[str, list[_Turn]] = {kind: [] for kind in (ALONE, ONE_ADDRESS, OWN_ADDRESSES)}
    unkeyed = replace(service.target, headers=UNKEYED_HEADERS)
    # A process of their own: sharing Python's lock, they would slow the other clients themselves.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(time.time).result()
        for kind in list(turns) * n_rounds:
            flood = None
            if kind is not ALONE:
                network = next(_networks) if kind is OWN_ADDRESSES else None
                flood = pool.submit(_flood, unkeyed, bodies[0], seconds + _LEAD_S, network)
                time.sleep(_LEAD_S)
            before_s = service.cpu_s()
            answers = send(service.target, bodies, N_KEYED, seconds=seconds)
            cpu_ms = 1e3 * (service.cpu_s() - before_s) / answers.statuses.total()
            answers.require(200)
            refused = flood.result() if flood is not None else Counter()
            if set(refused) - {401}:
                raise RuntimeError(f"without a key, expected only 401, got {dict(refused)}")
            refused_per_s = refused.total() / (seconds + _LEAD_S)
            turns[kind].append(_Turn(answers.good_per_s, cpu_ms, refused_per_s))
    return {kind: _summary(own, turns[ALONE]) for kind, own in turns.items()}


@dataclass(frozen=True, slots=True)
class _Turn:
    per_s: float
    cpu_ms: float
    refused_per_s: float


def _summary(own: Sequence[_Turn], alone: Sequence[_Turn]) -> dict[str, float]:
    pairs = list(zip(own, alone, strict=True))
    return {
        "per_s": statistics.median(turn.per_s for turn in own),
        "ratio": statistics.median(turn.per_s / base.per_s for turn, base in pairs),
        "cpu_ms": statistics.median(turn.cpu_ms for turn in own),
        "cpu_ratio": statistics.median(turn.cpu_ms / base.cpu_ms for turn, base in pairs),
        "refused_per_s": statistics.median(turn.refused_per_s for turn in own),
    }


def measure_refusals(
    service: Service, body: bytes, n_rounds: int, n_requests: int
) -> dict[str, float]:
    """Processor time of the service per refused request, in milliseconds, by kind of refusal.

    Each request has a connection of its own, which is open before the time starts, and sends the
    whole tile. What the service uses without requests is subtracted.

    Args:
        service: asks for a key; its target has one. It takes one tile at a time.
        body: an encoded tile.
        n_rounds: turns of each kind; the median counts.
        n_requests: in each turn; with the queue held full they must end within a second.
    """
    without = replace(service.target, headers=UNKEYED_HEADERS)
    wrong = replace(service.target, headers={"Authorization": "Bearer wrong"})
    # A kernel knows how fast an address takes data, so those compared have new ones.
    kinds = {
        FULL: (service.target, 429, True),
        UNKEYED: (without, 401, True),
        WRONG: (wrong, 401, True),
        FAILING: (without, 401, False),
    }
    before_s = service.cpu_s()
    time.sleep(_IDLE_S)
    idle_share = (service.cpu_s() - before_s) / _IDLE_S
    costs_ms: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(n_rounds):
        for place in range(len(kinds)):
            kind = list(kinds)[(number + place) % len(kinds)]
            target, status, own = kinds[kind]
            for _attempt in range(_MAX_ATTEMPTS):
                network = next(_networks) if own else None
                started = time.perf_counter()
                cpu_s, statuses = asyncio.run(
                    _refused(service, target, body, n_requests, network, is_full=status == 429)
                )
                cpu_s -= idle_share * (time.perf_counter() - started)
                if set(statuses) == {status}:
                    break
            else:
                raise RuntimeError(f"{kind}: expected only {status}, got {dict(statuses)}")
            costs_ms[kind].append(1e3 * cpu_s / n_requests)
    return {kind: statistics.median(costs) for kind, costs in costs_ms.items()}


async def _refused(
    service: Service,
    target: Target,
    body: bytes,
    n_requests: int,
    network: int | None,
    *,
    is_full: bool,
) -> tuple[float, Counter[int]]:
    """Send requests that are to be refused; returns the service's seconds, and the statuses."""
    answers = Answers()
    async with contextlib.AsyncExitStack() as stack:
        connections = []
        for i in range(n_requests + is_full):
            reader, writer = await connect(target, _address(network, i))
            stack.push_async_callback(disconnect, [writer])
            connections.append((reader, writer))
        if is_full:
            # It gets the only place and keeps it, for a body that does not arrive.
            _, holder = connections.pop()
            holder.write(target.head(_STALL_BYTES))
        await asyncio.sleep(_SETTLE_S)  # until the service has accepted all connections
        request = target.request(body)
        before_s = service.cpu_s()
        await asyncio.gather(
            *(exchange(reader, writer, request, answers) for reader, writer in connections)
        )
        cpu_s = service.cpu_s() - before_s
    return cpu_s, answers.statuses


def _flood(target: Target, body: bytes, seconds: float, network: int | None) -> Counter[int]:
    """Send tiles without a key from many clients; returns the statuses."""
    return asyncio.run(_keep_sending(target, target.request(body), seconds, network))


async def _keep_sending(
    target: Target, request: bytes, seconds: float, network: int | None
) -> Counter[int]:
    answers = Answers()

    async def repeat(i: int) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await connect(target, _address(network, i))
                try:
                    while True:
                        await exchange(reader, writer, request, answers)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(_AGAIN_S)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            for i in range(N_UNKEYED):
                tasks.create_task(repeat(i))
    return answers.statuses


def _address(network: int | None, i: int) -> str | None:
    """An address of the loopback network for a client; None for the one that all share."""
    if network is None:
        return None
    return f"127.{10 + network % 200}.{i // 250}.{1 + i % 250}"
