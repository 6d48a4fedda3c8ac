"""Two replicas on one machine behind an ingress, replaced one by one as docs/upgrades.md says."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final, Self

from tests.conftest import RELEASED_MODELS
from tests.server.ingresses import Ingress, ingress
from tests.servers import (
    RunningServer,
    free_port,
    freshly_started_server,
    running_server,
    wait_until,
)

DRAIN_DELAY_S: Final = 5
"""What docs/upgrades.md asks for behind HAProxy, which has to see that `/readyz` turned 503."""
_LONGER_THAN_A_TEST_S: Final = 600
_QUICK_CHECKS: Final = {"inter 500ms": "inter 50ms"}
"""What HAProxy needs to see a change at once."""
_SETTINGS: Final = {
    "OSTEO_MODELS_DIR": str(RELEASED_MODELS),
    "OSTEO_REQUEST_TIMEOUT_S": "60",  # a busy machine makes answers late, not wrong
    "OSTEO_WORKERS": "1",
}


class Replica:
    """One replica, which is started again on its port with another program or other settings."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._n_starts = 0
        self._running = ExitStack()
        self.server: RunningServer | None = None

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def start(self, checkout: Path | None, environ: dict[str, str]) -> RunningServer:
        """Start it and wait until it is ready; `checkout` is that of another program."""
        self._running.close()
        self._n_starts += 1
        folder = self._folder / f"start-{self._n_starts}"
        folder.mkdir(parents=True)
        environ = {**_SETTINGS, "OSTEO_PORT": "%i", **environ}
        environ = {name: value.replace("%i", str(self._port)) for name, value in environ.items()}
        server: AbstractContextManager[RunningServer] = (
            running_server(folder, **environ)
            if checkout is None
            else freshly_started_server(folder, checkout, **environ)
        )
        self.server = self._running.enter_context(server)
        self.server.wait_until_ready()
        return self.server

    def end(self) -> None:
        self._running.close()


class ReplicatedService:
    """Two replicas of the service behind an ingress."""

    def __init__(
        self,
        program: str,
        folder: Path,
        *,
        checkout: Path | None = None,
        waits_as_documented: bool = False,
        **environ: str,
    ) -> None:
        """Prepare it; entering the context starts it.

        Args:
            program: "nginx" or "haproxy".
            folder: for files of the ingress and logs.
            checkout: of the program; this repository if not given.
            waits_as_documented: whether replicas are drained for as long as docs/upgrades.md says;
                otherwise until HAProxy has seen it, which is checked more often than shipped.
            environ: settings of both replicas, in which "%i" is the port, as in a unit of systemd.
        """
        self._program = program
        self._folder = folder
        self._checkout = checkout
        # nginx does not ask /readyz, so a delay would change nothing.
        self._ends_delays = program == "haproxy" and not waits_as_documented
        self._changed = _QUICK_CHECKS if self._ends_delays else {}
        delay_s = _LONGER_THAN_A_TEST_S if self._ends_delays else DRAIN_DELAY_S
        if program == "haproxy":
            environ = {"OSTEO_DRAIN_DELAY_S": str(delay_s), **environ}
        self._environ = environ
        self._running = ExitStack()
        self.replicas = [Replica(folder / name, free_port()) for name in ("a", "b")]

    def __enter__(self) -> Self:
        for replica in self.replicas:
            self._running.callback(replica.end)
            replica.start(self._checkout, self._environ)
        addresses = [replica.address for replica in self.replicas]
        self.ingress: Ingress = self._running.enter_context(
            ingress(self._program, self._folder, addresses, **self._changed)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def replace_each(self, checkout: Path | None = None, **environ: str) -> None:
        """Stop one replica with SIGTERM and start it again, then the other one.

        Args:
            checkout: of the program that takes its place; this repository if not given.
            environ: its settings, in addition to those of the service.
        """
        for i, replica in enumerate(self.replicas):
            assert replica.server is not None
            replica.server.process.send_signal(signal.SIGTERM)
            self.wait_for_state(i, "DOWN")
            if self._ends_delays:
                replica.server.process.send_signal(signal.SIGTERM)  # ends the delay, not the drain
            assert replica.server.process.wait(timeout=60) == 0
            replica.start(checkout, {**self._environ, **environ})
            self.wait_for_state(i, "UP")

    def wait_for_state(self, i: int, state: str) -> None:
        """Wait until HAProxy says that a replica has a state; nginx knows no states."""
        if self._program == "haproxy":
            wait_until(lambda: self.ingress.states()[i] == state)
