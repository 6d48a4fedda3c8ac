"""Runs the service in several configurations at once, and reads the processor time of each."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.access.clients import Target
from benchmarks.environments import REPOSITORY

_READY_WITHIN_S: Final = 180.0
_END_WITHIN_S: Final = 30.0
_KEPT: Final = frozenset({"OSTEO_MODELS_DIR", "OSTEO_MODEL_NAME", "OSTEO_MODEL_VERSION"})


@dataclass(frozen=True, slots=True)
class Configuration:
    """The service as it is to be measured.

    Attributes:
        title: in the report.
        env: settings in addition to the defaults.
        tls: how its clients speak TLS; None for plain HTTP.
        headers: that its clients send.
    """

    title: str
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: ssl.SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that answers.

    Attributes:
        title: of its configuration.
        target: where its clients send, with what identifies them.
        pid: of its only process.
    """

    title: str
    target: Target
    pid: int

    def cpu_s(self) -> float:
        """Processor time of all its threads, to the nanosecond (clock_getcpuclockid(3))."""
        return time.clock_gettime(_cpu_clock(self.pid))


@contextmanager
def running(configuration: Configuration, folder: Path) -> Iterator[Service]:
    """Start the service on a free port, and end it on exit.

    Args:
        configuration: its settings. Those of the shell count only for the choice of the bundle.
        folder: for its state and its log; a new one for each service.

    Raises:
        RuntimeError: it ended at start or was not ready in time; the message has the end of its
            log.
    """
    folder.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OSTEO_") or name in _KEPT
    }
    decided = {"OSTEO_PORT": str(port), "OSTEO_STATE_DIR": str(folder), "OSTEO_RUNTIME": "litert"}
    log_file = folder / "log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"],
            cwd=REPOSITORY,
            env=inherited | decided | dict(configuration.env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    target = Target(port, configuration.tls, configuration.headers)
    try:
        _wait_until_ready(process, target, log_file)
        yield Service(configuration.title, target, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_WITHIN_S)
        process.kill()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], target: Target, log_file: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if _is_ready(target):
                return
        time.sleep(0.1)
    end = log_file.read_text(errors="replace").strip()[-800:]
    raise RuntimeError(f"the service was not ready: {end or 'it printed nothing'}")


def _is_ready(target: Target) -> bool:
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(socket.create_connection(("127.0.0.1", target.port), 5.0))
        connection = plain
        if target.tls is not None:
            connection = stack.enter_context(
                target.tls.wrap_socket(plain, server_hostname="127.0.0.1")
            )
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return connection.recv(16).startswith(b"HTTP/1.1 200")


def _cpu_clock(pid: int) -> int:
    """The clock of a process's processor time, as clock_getcpuclockid(3) of the C library."""
    return (~pid << 3) | 2
