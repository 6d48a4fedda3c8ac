"""Real servers on ports of their own: a process for what needs signals, a thread for the wire."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import uvicorn
from starlette.types import ASGIApp

from app.server.tile_protocol import TileProtocol
from tests.conftest import RELEASED_MODELS


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RunningServer:
    """A server process; its log lines are parsed when it has ended."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        url: str,
        log_file: Path,
        client: httpx2.Client,
    ) -> None:
        self.process = process
        self.url = url
        self.client = client
        self._log_file = log_file

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if self.client.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.02)
        raise AssertionError(self._log_file.read_text())

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def connect(self) -> socket.socket:
        """A bare connection, for what no HTTP client would send."""
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=10)

    def metric(self, line: str) -> float:
        """The value of a metric, given its name and labels as the page writes them; 0 if absent."""
        for text in self.client.get(f"{self.url}/metrics").text.splitlines():
            if text.startswith(f"{line} "):
                return float(text.rsplit(" ", 1)[1])
        return 0.0

    def events(self) -> list[dict[str, object]]:
        lines = self._log_file.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextmanager
def running_server(tmp_path: Path, **environ: str) -> Iterator[RunningServer]:
    port = free_port()
    log_file = tmp_path / "serve.log"
    command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            stderr=log,
            env={"OSTEO_MODELS_DIR": str(RELEASED_MODELS), "PATH": "", **environ},
        )
    # One client a server: to make one takes longer than most requests. Its connections do not stay.
    limits = httpx2.Limits(max_keepalive_connections=0)
    try:
        with httpx2.Client(limits=limits) as client:
            yield RunningServer(process, f"http://127.0.0.1:{port}", log_file, client)
    finally:
        process.kill()
        process.wait()


@contextmanager
def serving(
    app: ASGIApp, keep_alive_s: int = 5, protocol: type[TileProtocol] = TileProtocol
) -> Iterator[tuple[str, int]]:
    """Serve an application from a thread as `app.server.run` does; yields host and port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        log_config=None,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join()
