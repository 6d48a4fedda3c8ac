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
from dataclasses import replace
from typing import Any, Final

from benchmarks.access.clients import Answers, Target, connect, exchange, send
from benchmarks.access.services import Service

N_KEYED: Final = 8
N_UNKEYED: Final = 256
UNKEYED_HEADERS: Final = {"X-Request-ID": "unkeyed"}
ALONE, ONE_ADDRESS, OWN_ADDRESSES = "alone", "one address", "an address each"
_LEAD_S: Final = 2.0  # until the unkeyed clients are connected
_AGAIN_S: Final = 0.1
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
        By kind the tiles per second, the median of the ratios to `ALONE` of the same round, and
        the refusals per second.
    """
    rates: dict[str, list[float]] = {kind: [] for kind in (ALONE, ONE_ADDRESS, OWN_ADDRESSES)}
    refusals: dict[str, list[float]] = {kind: [] for kind in rates}
    unkeyed = replace(service.target, headers=UNKEYED_HEADERS)
    # A process of their own: sharing Python's lock, they would slow the other clients themselves.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(time.time).result()
        for kind in list(rates) * n_rounds:
            flood = None
            if kind is not ALONE:
                network = next(_networks) if kind is OWN_ADDRESSES else None
                flood = pool.submit(_flood, unkeyed, bodies[0], seconds + _LEAD_S, network)
                time.sleep(_LEAD_S)
            answers = send(service.target, bodies, N_KEYED, seconds=seconds)
            answers.require(200)
            rates[kind].append(answers.good_per_s)
            refused = flood.result() if flood is not None else Counter()
            if set(refused) - {401}:
                raise RuntimeError(f"without a key, expected only 401, got {dict(refused)}")
            refusals[kind].append(refused.total() / (seconds + _LEAD_S))
    return {
        kind: {
            "per_s": statistics.median(rates[kind]),
            "ratio": statistics.median(
                rate / alone for rate, alone in zip(rates[kind], rates[ALONE], strict=True)
            ),
            "refused_per_s": statistics.median(refusals[kind]),
        }
        for kind in rates
    }


def measure_refusals(
    service: Service, body: bytes, n_rounds: int, n_requests: int
) -> dict[str, float]:
    """Processor time of the service per refused request, in milliseconds, by kind of refusal.

    Each request has a connection of its own, which is open before the time starts, and sends the
    whole tile.

    Args:
        service: asks for a key; its target has one. It takes one tile at a time.
        body: an encoded tile.
        n_rounds: turns of each kind; the median counts.
        n_requests: in each turn; with the queue held full they must end within a second.
    """
    without = replace(service.target, headers=UNKEYED_HEADERS)
    wrong = replace(service.target, headers={"Authorization": "Bearer wrong"})
    kinds = {
        "no key, first attempts of an address": (without, 401, True),
        "wrong key, first attempts of an address": (wrong, 401, True),
        "no key, an address that keeps failing": (without, 401, False),
        "queue full, with a key": (service.target, 429, False),
    }
    costs_ms: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(n_rounds):
        for kind, (target, status, own) in kinds.items():
            network = next(_networks) if own else None
            for _attempt in range(_MAX_ATTEMPTS):
                cpu_s, statuses = asyncio.run(
                    _refused(service, target, body, n_requests, network, is_full=status == 429)
                )
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
            stack.callback(writer.close)
            connections.append((reader, writer))
        if is_full:
            # It gets the only place and keeps it, for a body that does not arrive.
            _, holder = connections.pop()
            holder.write(target.head(_STALL_BYTES))
            await asyncio.sleep(_AGAIN_S)
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
                    writer.close()
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
