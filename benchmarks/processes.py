"""Start a server, wait for it within bounds, know its memory, end it by its process group."""

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
        """Where tiles go."""
        return f"http://127.0.0.1:{self.port}{self.server.classify_path}"

    def peak_rss_mib(self) -> float:
        """Sum over the process and its children of the most each ever held (`VmHWM`)."""
        return _memory_mib(self.pid, "VmHWM")

    def rss_mib(self) -> float:
        """Sum over the process and its children of what each holds now (`VmRSS`)."""
        return _memory_mib(self.pid, "VmRSS")


@contextmanager
def running(server: Server, bundle_dir: Path) -> Iterator[RunningServer]:
    """Start a server on a free port and end it on leaving.

    Raises:
        RuntimeError: it ended or was not ready in time; carries the end of its log.
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
            start_new_session=True,  # a group of its own, so that its workers end with it
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
            raise RuntimeError(f"{server.name} ended at start: {_tail(log_file)}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if get(port, server.ready_path).status == 200:
                return
        time.sleep(_POLL_EVERY_S)
    raise RuntimeError(f"{server.name} not ready in {_READY_WITHIN_S:.0f} s: {_tail(log_file)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the group to end, then make what is left of it end."""
    workers = [pid for pid in _tree(process.pid) if pid != process.pid]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_WITHIN_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # A framework may have moved its workers to groups of their own.
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:  # grows while it is walked
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
