"""Start a server, wait until it is ready, read its memory and end its process group."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.environments import WORK_DIR
from benchmarks.probe import get
from benchmarks.servers import Server

_READY_WITHIN_S: Final = 180.0
_POLL_EVERY_S: Final = 0.02
_END_WITHIN_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answered its readiness path."""

    server: Server
    port: int
    pid: int
    ready_s: float

    @property
    def classify_url(self) -> str:
        """URL to post tiles to."""
        return f"http://127.0.0.1:{self.port}{self.server.classify_path}"

    def peak_rss_mib(self) -> float:
        """Sum of the peak resident memory (`VmHWM`) of the process and its descendants."""
        return _memory_mib(self.pid, "VmHWM")

    def rss_mib(self) -> float:
        """Sum of the current resident memory (`VmRSS`) of the process and its descendants."""
        return _memory_mib(self.pid, "VmRSS")


@contextmanager
def running(server: Server, bundle_dir: Path) -> Iterator[RunningServer]:
    """Start a server on a free port, and end it on exit.

    Raises:
        RuntimeError: it exited or was not ready in time; the message has the end of its log.
    """
    port = _free_port()
    log_file = WORK_DIR / "logs" / f"{server.name}.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("wb") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            server.command(port),
            cwd=server.cwd,
            env=server.environ(bundle_dir, port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its own group, so that its workers end with it
        )
        try:
            _wait_until_ready(server, process, port, log_file)
            yield RunningServer(server, port, process.pid, time.perf_counter() - started)
        finally:
            _end(process)


def _wait_until_ready(
    server: Server, process: subprocess.Popen[bytes], port: int, log_file: Path
) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{server.name} exited at start: {_tail(log_file)}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if get(port, server.ready_path).status == 200:
                return
        time.sleep(_POLL_EVERY_S)
    raise RuntimeError(
        f"{server.name} was not ready within {_READY_WITHIN_S:.0f} s: {_tail(log_file)}"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate the group, then kill the processes that are left."""
    workers = [pid for pid in _tree(process.pid) if pid != process.pid]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_WITHIN_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # A framework may have moved its workers to other groups.
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:  # the loop appends to `found`
        for listing in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in listing.read_text().split()]
    return found


def _memory_mib(pid: int, field: str) -> float:
    total_kib = 0
    for member in _tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{member}/status").read_text().splitlines():
                if line.startswith(f"{field}:"):
                    total_kib += int(line.split()[1])
    return total_kib / 1024


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _tail(log_file: Path) -> str:
    return log_file.read_text(errors="replace").strip()[-800:] or "it printed nothing"
