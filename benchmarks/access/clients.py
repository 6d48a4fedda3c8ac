"""Clients that send requests in a closed loop: each waits for its answer before it sends again."""

from __future__ import annotations

import asyncio
import itertools
import re
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.report import percentile

CLASSIFY_PATH: Final = "/v1/classify"
_HOST: Final = "127.0.0.1"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_STATUS: Final = slice(9, 12)  # of "HTTP/1.1 200 OK"
_CONNECT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and what they say about their caller.

    Attributes:
        port: on the loopback address.
        tls: how to speak TLS, with the client's certificate if there is one; None for plain HTTP.
        headers: such as Authorization.
    """

    port: int
    tls: ssl.SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def request(self, body: bytes) -> bytes:
        """A POST of a tile as it goes over the connection."""
        return self.head(len(body)) + body

    def head(self, n_body_bytes: int) -> bytes:
        """The head of a POST with a body of this length."""
        lines = [
            f"POST {CLASSIFY_PATH} HTTP/1.1",
            f"Host: {_HOST}:{self.port}",
            "Content-Type: image/jpeg",
            f"Content-Length: {n_body_bytes}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclass(slots=True)
class Answers:
    """What clients got.

    Attributes:
        statuses: number of answers by status.
        latencies_s: seconds from sending to the end of each answer.
        seconds: from the first request to the last answer.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good_per_s(self) -> float:
        """Answers with status 200 per second."""
        return self.statuses[200] / self.seconds if self.seconds else 0.0

    def latency_ms(self, percent: int) -> float:
        """A percentile of the latencies."""
        return percentile(self.latencies_s, percent) * 1e3

    def require(self, status: int) -> None:
        """Raise RuntimeError if any answer has another status."""
        if set(self.statuses) != {status}:
            raise RuntimeError(f"expected answers with {status} only, got {dict(self.statuses)}")


def send(
    target: Target,
    bodies: Sequence[bytes],
    n_clients: int,
    *,
    n_requests: int | None = None,
    seconds: float | None = None,
) -> Answers:
    """Send bodies in rotation from some clients, each over a connection that it keeps.

    Args:
        target: where to.
        bodies: encoded tiles.
        n_clients: number of connections; they are open before the time starts.
        n_requests: stop after this number of requests in all.
        seconds: begin no request after this time.
    """
    requests = itertools.cycle([target.request(body) for body in bodies])
    return asyncio.run(_send(target, _limited(requests, n_requests, seconds), n_clients))


async def connect(
    target: Target, address: str | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection; from an address of the loopback network, if one is given."""
    async with asyncio.timeout(_CONNECT_S):
        local = (address, 0) if address else None
        return await asyncio.open_connection(
            _HOST, target.port, ssl=target.tls, local_addr=local, limit=1 << 20
        )


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, answers: Answers
) -> None:
    """Send a request, wait for the whole answer and note it."""
    started = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    found = _LENGTH.search(head)
    if found is None:
        raise RuntimeError(f"an answer without Content-Length: {head[:80]!r}")
    await reader.readexactly(int(found[1]))
    answers.latencies_s.append(time.perf_counter() - started)
    answers.statuses[int(head[_STATUS])] += 1


async def _send(target: Target, requests: Iterable[bytes], n_clients: int) -> Answers:
    answers = Answers()
    connections = await asyncio.gather(*(connect(target) for _ in range(n_clients)))

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for request in requests:  # the clients share the iterator
            await exchange(reader, writer, request, answers)

    started = time.perf_counter()
    try:
        await asyncio.gather(*(repeat(*connection) for connection in connections))
        answers.seconds = time.perf_counter() - started
    finally:
        for _, writer in connections:
            writer.close()
    return answers


def _limited(
    requests: Iterator[bytes], n_requests: int | None, seconds: float | None
) -> Iterator[bytes]:
    started = time.perf_counter()
    for request in itertools.islice(requests, n_requests):
        if seconds is not None and time.perf_counter() - started >= seconds:
            return
        yield request
