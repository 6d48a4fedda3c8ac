"""A real redis-server, which tests start, freeze and stop."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.servers import free_port, wait_until

PASSWORD = "hidden-password"


def program() -> str:
    """Debian's redis-server; without it the test is skipped, but never in CI."""
    found = shutil.which("redis-server")
    if found is None:
        reason = "redis-server is not installed: apt-get install redis-server"
        if os.environ.get("REQUIRE_CLIENT_TOOLS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class RedisServer:
    """Listens on a port of its own and keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), *map(str, options), "--requirepass", PASSWORD],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_listening)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _is_listening(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0
