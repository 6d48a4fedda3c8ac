"""Goodput at twice the capacity: requests arrive at a fixed rate, however long answers take.

    OSTEO_DATA_DIR=/data/tcia .venv/bin/python -m benchmarks.open_loop --write-docs

For each mix of cheap and expensive requests, a few clients that wait for their answers measure the
capacity. Then requests arrive at twice that rate, as from people who know nothing of each other.
Nobody tries again. It takes about three minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from PIL import Image

from app.bundle import find_bundle
from app.settings import read_settings
from benchmarks.machine import describe_host
from benchmarks.processes import running
from benchmarks.publish import Benchmark, Results
from benchmarks.report import percentile
from benchmarks.servers import OURS, SERVERS
from benchmarks.tables import render_table
from benchmarks.tiles import TILES_HELP, collect_tiles

BENCHMARK: Final = Benchmark("open_loop", "benchmarks.md", __doc__)
GOAL: Final = 0.8
"""Share of the capacity that must be answered at twice the capacity."""
_OVERLOAD: Final = 2.0
_CLIENTS: Final = 4
_RETRY_S: Final = 0.2
_REQUEST_TIMEOUT_S: Final = 60.0
_WEBP_SIDE_PX: Final = 4096

JPEG, WEBP, PICTURE = "JPEG", "WebP of 4096 px", "picture of 2048 px"
MIXES: Final[Mapping[str, Mapping[str, float]]] = {
    "JPEG": {JPEG: 1},
    "WebP of 4096 px": {WEBP: 1},
    "pictures of 2048 px": {PICTURE: 1},
    "80 % JPEG, 10 % WebP, 10 % pictures": {JPEG: 0.8, WEBP: 0.1, PICTURE: 0.1},
}
"""Shares of the requests of each mix."""


@dataclass(slots=True)
class _Seen:
    """Status, and seconds from start to the end of the answer and of the wait, of each request."""

    answers: list[tuple[int, float, float]] = field(default_factory=list)


class _Sender:
    """Sends the requests of one mix, each on a connection of its own."""

    def __init__(
        self, port: int, requests: Mapping[str, Sequence[bytes]], mix: Mapping[str, float]
    ) -> None:
        self._port = port
        self._requests = requests
        self._mix = mix
        self._random = random.Random(0)  # noqa: S311 - not for cryptography

    async def keep_sending(self, seconds: float) -> _Seen:
        """Clients that wait for their answers before they send again."""
        seen, started = _Seen(), time.perf_counter()

        async def send_in_turn() -> None:
            while time.perf_counter() - started < seconds:
                if await self._send(seen, started) != 200:
                    await asyncio.sleep(_RETRY_S)

        await asyncio.gather(*(send_in_turn() for _ in range(_CLIENTS)))
        return seen

    async def send_at_rate(self, per_s: float, seconds: float) -> _Seen:
        """Requests that arrive at random times, at a fixed mean rate."""
        seen, started, at_s = _Seen(), time.perf_counter(), 0.0
        async with asyncio.TaskGroup() as tasks:
            while (at_s := at_s + self._random.expovariate(per_s)) < seconds:
                await asyncio.sleep(started + at_s - time.perf_counter())
                tasks.create_task(self._send(seen, started))
        return seen

    async def _send(self, seen: _Seen, started: float) -> int:
        (kind,) = self._random.choices(list(self._mix), list(self._mix.values()))
        request = self._random.choice(self._requests[kind])
        sent_at = time.perf_counter()
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                status = await self._exchange(request)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            status = 0
        now = time.perf_counter()
        seen.answers.append((status, now - started, now - sent_at))
        return status

    async def _exchange(self, request: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(request)
            status = int((await reader.readuntil(b"\r\n")).split()[1])
            while await reader.read(1 << 20):
                pass
            return status
        finally:
            writer.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = BENCHMARK.parser()
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds of overload (30)")
    parser.add_argument("--mix", nargs="+", choices=MIXES, help="measure only these mixes")
    parser.add_argument("--tiles", type=Path, help=TILES_HELP)
    parser.add_argument("--port", type=int, help="measure the service that runs on this port")
    return BENCHMARK.run(parser.parse_args(arguments), _measure, _render)


def _measure(options: argparse.Namespace) -> Results:
    machine = describe_host()
    title, files = collect_tiles(options.tiles)
    requests = _build_requests(files)
    mixes = {}
    for name in options.mix or MIXES:
        with _server(options.port) as port:  # anew, so that no mix has learnt from another
            print(f"open loop: {name}", file=sys.stderr)
            sender = _Sender(port, requests, MIXES[name])
            mixes[name] = asyncio.run(_measure_mix(sender, options.seconds))
    return {"machine": machine, "tiles": title, "seconds": options.seconds, "mixes": mixes}


async def _measure_mix(sender: _Sender, seconds: float) -> dict[str, Any]:
    await sender.keep_sending(seconds / 10)  # warm up
    peak = _goodput(await sender.keep_sending(seconds / 2), 0, seconds / 2)
    if not peak:
        raise RuntimeError(f"no request was answered with 200 in {seconds / 2:g} s")
    seen = await sender.send_at_rate(_OVERLOAD * peak, seconds)
    statuses = Counter(status for status, _, _ in seen.answers)
    accepted_s = [took_s for status, _, took_s in seen.answers if status == 200]
    return {
        "capacity_per_s": peak,
        "offered_per_s": len(seen.answers) / seconds,
        # The second half: a queue of old requests takes time to build up.
        "goodput_per_s": _goodput(seen, seconds / 2, seconds),
        "statuses": {str(status): n for status, n in sorted(statuses.items())},
        "accepted_s": [percentile(accepted_s, p) for p in (50, 99)] if accepted_s else None,
    }


def _goodput(seen: _Seen, begin_s: float, end_s: float) -> float:
    n_good = sum(status == 200 and begin_s <= at_s < end_s for status, at_s, _ in seen.answers)
    return n_good / (end_s - begin_s)


@contextmanager
def _server(port: int | None) -> Iterator[int]:
    """The port of our service with the released bundle; it is started if none is given."""
    if port is not None:
        yield port
        return
    settings = read_settings()
    bundle_dir = find_bundle(settings.models_dir, settings.model_name, settings.model_version)
    with running(SERVERS[OURS], bundle_dir) as server:
        yield server.port


def _build_requests(files: Sequence[Path]) -> dict[str, list[bytes]]:
    webp = io.BytesIO()
    Image.new("RGBA", (_WEBP_SIDE_PX, _WEBP_SIDE_PX)).save(webp, "WEBP", lossless=True)
    tiles = [file.read_bytes() for file in files]
    return {
        JPEG: [_request("/v1/classify", tile) for tile in tiles],
        WEBP: [_request("/v1/classify", webp.getvalue())],
        PICTURE: [_request("/v1/explain?size_px=2048", tile) for tile in tiles],
    }


def _request(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _render(results: Results) -> str:
    header = [
        *("requests", "capacity (1/s)", "offered (1/s)", "answered (1/s)", "share of capacity"),
        *("429", "503", "other", "200 p50, p99 (s)"),
    ]
    rows = [[name, *_cells(mix)] for name, mix in results["mixes"].items()]
    machine = results["machine"]
    return (
        f"{render_table(header, rows)}\n\n"
        f"Measured {machine['date']} on {machine['cores']} cores ({machine['cpu']}), load "
        f"{machine['load_at_start']} at start, {results['tiles']}; {results['seconds']:g} s per "
        f"mix, of which the second half counts. Goal: a share of at least {GOAL:g}."
    )


def _cells(mix: Mapping[str, Any]) -> list[str]:
    statuses = Counter(mix["statuses"])
    n_other = statuses.total() - sum(statuses[status] for status in ("200", "429", "503"))
    capacity = mix["capacity_per_s"]
    return [
        f"{capacity:.1f}",
        f"{mix['offered_per_s']:.1f}",
        f"{mix['goodput_per_s']:.1f}",
        f"{mix['goodput_per_s'] / capacity:.2f}" if capacity else "-",
        *(str(statuses[status]) for status in ("429", "503")),
        str(n_other),
        ", ".join(f"{value:.1f}" for value in mix["accepted_s"]) if mix["accepted_s"] else "-",
    ]


if __name__ == "__main__":
    sys.exit(main())
