"""What TLS costs: the same tiles to two servers, over HTTP and over HTTPS, in turns.

    .venv/bin/python -m benchmarks.tls

Server and client share the cores, so the ratio of the server's own CPU time is the steady figure.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from benchmarks.tiles import collect_tiles

N_ROUNDS: Final = 9
N_TILES: Final = 200
_READY_S: Final = 120.0


class Server:
    """A server process on its own port, over TLS if it has a certificate."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self._port = port
        self._context = context

    def connect(self) -> http.client.HTTPConnection:
        """A connection that opens with its first request."""
        if self._context is None:
            return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        return http.client.HTTPSConnection(
            "127.0.0.1", self._port, timeout=60, context=self._context
        )

    def cpu_s(self) -> float:
        """Seconds of CPU time that the server has used."""
        with closing(self.connect()) as connection:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        (value,) = [line for line in lines if line.startswith("process_cpu_seconds_total")]
        return float(value.split()[1])

    def wait_until_ready(self) -> None:
        """Wait until it answers tiles."""
        deadline = time.monotonic() + _READY_S
        while True:
            try:
                with closing(self.connect()) as connection:
                    connection.request("GET", "/readyz")
                    if connection.getresponse().status == 200:
                        return
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def classify(self, tiles: list[bytes], n_requests: int, *, keep_alive: bool) -> None:
        """Send tiles one after the other, over one connection or over one for each."""
        connection = self.connect()
        for i in range(n_requests):
            connection.request("POST", "/v1/classify", tiles[i % len(tiles)])
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}")
            if not keep_alive:
                connection.close()
        connection.close()


@contextmanager
def running(folder: Path, *, over_tls: bool) -> Iterator[Server]:
    """Run `osteo serve`, with a new certificate if it is to speak TLS."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {**os.environ, "OSTEO_PORT": str(port), "OSTEO_LOG_LEVEL": "warning"}
    context = None
    if over_tls:
        certificate, key = folder / "tls.crt", folder / "tls.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",  # noqa: S607 - the developer's own
             "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        environ |= {"OSTEO_TLS_CERTIFICATE": str(certificate), "OSTEO_TLS_KEY": str(key)}
        context = ssl.create_default_context(cafile=certificate)
    process = subprocess.Popen([sys.executable, "-m", "app", "serve"], env=environ)
    try:
        server = Server(port, context)
        server.wait_until_ready()
        yield server
    finally:
        process.terminate()
        process.wait()


def measure(servers: list[Server], tiles: list[bytes], *, keep_alive: bool) -> None:
    """Print the medians of milliseconds a tile and of CPU time a tile, and their ratios."""
    wall: list[list[float]] = [[], []]
    cpu: list[list[float]] = [[], []]
    for _ in range(N_ROUNDS):
        for i, server in enumerate(servers):
            cpu_before, started = server.cpu_s(), time.perf_counter()
            server.classify(tiles, N_TILES, keep_alive=keep_alive)
            wall[i].append((time.perf_counter() - started) / N_TILES * 1000)
            cpu[i].append((server.cpu_s() - cpu_before) / N_TILES * 1000)
    kind = "keep-alive" if keep_alive else "a connection for each tile"
    for name, figures in (("ms a tile", wall), ("ms of the server's CPU a tile", cpu)):
        http_ms, https_ms = (statistics.median(column) for column in figures)
        ratios = [b / a for a, b in zip(*figures, strict=True)]
        print(
            f"{kind}, {name}: HTTP {http_ms:.2f}, HTTPS {https_ms:.2f}, "
            f"ratio {statistics.median(ratios):.3f}"
        )


def main() -> None:
    """Measure both kinds of connections."""
    kind, files = collect_tiles(None)
    tiles = [file.read_bytes() for file in files]
    print(f"Tiles: {kind}, {N_ROUNDS} rounds of {N_TILES} tiles for each server, one client.")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = [
            stack.enter_context(running(Path(folder), over_tls=over_tls))
            for over_tls in (False, True)
        ]
        for server in servers:
            server.classify(tiles, N_TILES, keep_alive=True)
        for keep_alive in (True, False):
            measure(servers, tiles, keep_alive=keep_alive)


if __name__ == "__main__":
    main()
