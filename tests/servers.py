"""Real servers on their own ports: processes for signals, threads for everything else."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import httpx2
import uvicorn
from starlette.types import ASGIApp

from app.server.tile_protocol import TileProtocol
from app.server.tls import limit_handshakes
from tests.bundles import small_models
from tests.conftest import RELEASED_MODELS, REPOSITORY
from tests.forking import RUN_APP, ForkedProcess

Loop = Literal["auto", "asyncio", "uvloop"]
"""The event loop of a server; "auto" is what `osteo serve` uses."""
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port that is free at every address.

    The system would choose one of those that outgoing connections get, so that a connection of
    another test could take it before the server does.
    """
    while True:
        port = secrets.choice(_PORTS)  # other workers may have seeded `random` alike
        with suppress(OSError), socket.socket() as listener:
            listener.bind(("", port))
            return port


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait for what takes milliseconds on a quiet machine.

    It asks less often the longer it waits, because many conditions take as long as a request.
    """
    started = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - started
        assert waited_s < timeout_s, "the condition was never met"
        time.sleep(min(max(waited_s / 10, 0.005), 0.05))


def serve_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "app", "serve", *arguments]


class RunningServer:
    """A server process and a client for it."""

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
        wait_until(lambda: self._is_ready() or self.process.poll() is not None)
        assert self.process.poll() is None, self._log_file.read_text()

    def _is_ready(self) -> bool:
        try:
            return self.client.get(f"{self.url}/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.url.partition("://")[2].split(":")
        return host, int(port)

    def connect(self) -> socket.socket:
        """Open a connection for bytes that no HTTP client would send."""
        return socket.create_connection(self.address, timeout=10)

    def metric(self, line: str) -> float:
        """Value of a metric, given its name and labels as `/metrics` writes them; 0 if absent."""
        for text in self.client.get(f"{self.url}/metrics").text.splitlines():
            if text.startswith(f"{line} "):
                return float(text.rsplit(" ", 1)[1])
        return 0.0

    def events(self) -> list[dict[str, object]]:
        """Events of the log, without a line that is half written; complete after `stop`."""
        lines = self._log_file.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line[0] == "{" and line[-1] == "\n"]


def plain_client(**options: Any) -> httpx2.Client:
    """A client for URLs without TLS; loading certificates takes longer than most requests."""
    return httpx2.Client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), **options)


def serve_until_it_ends(
    folder: Path, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run `osteo serve`, forked, where it ends by itself."""
    options: dict[str, Any] = {"cwd": folder, "env": environ, "text": True}
    options |= dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    with ForkedProcess(["serve", *arguments], **options) as process:
        output, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


@contextmanager
def running_server(
    tmp_path: Path,
    verify: ssl.SSLContext | None = None,
    /,
    *,
    before: str = "",
    **environ: str,
) -> Iterator[RunningServer]:
    """Run `osteo serve` with `small_models`; its log goes to a file in `tmp_path`.

    They open in a tenth of the time of the released ones; `OSTEO_MODELS_DIR` names others.
    The server is forked from a process that has imported what it needs, and has one worker. With
    `verify`, its client speaks TLS. It listens on a free port, or on `OSTEO_PORT`. `before` is
    Python that runs first in its process.
    """
    # Each further worker would have to load the model and check its golden tiles.
    environ = {"OSTEO_WORKERS": "1", "OSTEO_MODELS_DIR": str(small_models()), **environ}
    with _started(tmp_path, verify, environ, code=f"{before}\n{RUN_APP}") as server:
        yield server


@contextmanager
def freshly_started_server(
    tmp_path: Path, checkout: Path = REPOSITORY, /, **environ: str
) -> Iterator[RunningServer]:
    """As `running_server`, but the server starts and ends as any command does, from a checkout.

    It has the released bundles and the default number of workers.
    """
    with _started(tmp_path, None, environ, checkout=checkout) as server:
        yield server


@contextmanager
def _started(
    tmp_path: Path,
    verify: ssl.SSLContext | None,
    environ: dict[str, str],
    *,
    code: str | None = None,
    checkout: Path = REPOSITORY,
) -> Iterator[RunningServer]:
    scheme = "http" if verify is None else "https"
    port = int(environ.get("OSTEO_PORT") or free_port())
    log_file = tmp_path / "serve.log"
    arguments = ["serve", "--port", str(port)]
    options: dict[str, Any] = {"cwd": checkout}
    options["env"] = {
        "OSTEO_MODELS_DIR": str(RELEASED_MODELS),
        "PATH": "",
        **environ,
    }
    with log_file.open("wb") as log:
        process: subprocess.Popen[bytes] = (
            subprocess.Popen(serve_command(*arguments[1:]), stdout=log, stderr=log, **options)
            if code is None
            else ForkedProcess(arguments, code=code, stdout=log, stderr=log, **options)
        )
    # Making a client takes longer than most requests, so there is one. Each request connects anew.
    limits = httpx2.Limits(max_keepalive_connections=0)
    try:
        with (
            httpx2.Client(limits=limits, verify=verify)
            if verify
            else plain_client(limits=limits) as client
        ):
            yield RunningServer(process, f"{scheme}://127.0.0.1:{port}", log_file, client)
    finally:
        process.kill()
        process.wait()


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self.config.ssl is not None:
            limit_handshakes(asyncio.get_running_loop())
        await super().startup(sockets)


@contextmanager
def serving(
    app: ASGIApp,
    protocol: type[TileProtocol] = TileProtocol,
    *,
    keep_alive_s: int = 5,
    shutdown_timeout_s: int = 1,
    tls: ssl.SSLContext | None = None,
    loop: Loop = "auto",
) -> Iterator[tuple[str, int]]:
    """Serve an application from a thread, configured like `osteo serve`; yields host and port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        log_config=None,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=shutdown_timeout_s,
        ssl_context_factory=None if tls is None else lambda *_: tls,
        loop=loop,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join()
