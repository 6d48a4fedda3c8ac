"""kill -9 of a replica under load: the client of docs/clients.md gets every tile answered."""

from __future__ import annotations

import hashlib
import itertools
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import httpx2
import pytest

from app.main import create_app
from app.settings import Settings
from tests.bundles import FakeRuntime, build_bundle, opener_of, plain_tile
from tests.contract.pages import code_blocks
from tests.deploy.proxy.replicas import Replica, ReplicatedService
from tests.queues import occupy
from tests.servers import free_port, serving, wait_until

TRIES: Final = 1000
"""A busy machine may take long to start a replica."""
Classify = Callable[..., dict[str, Any]]
_logger = logging.getLogger(__name__)


def documented_client() -> dict[str, Any]:
    """The program on the page: its function `classify` and the modules that it uses."""
    (code,) = (c for c in code_blocks("docs/clients.md", "python") if "def classify" in c)
    namespace: dict[str, Any] = {}
    exec(code, namespace)  # noqa: S102 - what the page tells people to run
    return namespace


class Workload:
    """Threads that classify different tiles with the documented client."""

    def __init__(self, new_client: Callable[[], httpx2.Client]) -> None:
        self.n_answers = 0
        self.n_requests = 0
        self.sent: list[bytes] = []
        self.answered: list[str] = []
        """SHA-256 of the tile that each answer is about, in the order of `sent`."""
        self._classify: Classify = documented_client()["classify"]
        self._new_client = new_client
        self._numbers = itertools.count()
        self._is_over = threading.Event()
        self._n_answers_at_start: dict[int, int] = {}
        self._lock = threading.Lock()

    def has_stuck_request(self) -> bool:
        """Whether a tile waits for so long that ten others were answered meanwhile."""
        return any(self.n_answers - n >= 10 for n in [*self._n_answers_at_start.values()])

    def run(self, scenario: Callable[[], None]) -> None:
        """Send tiles until a scenario is over, and wait for the answers."""
        with ThreadPoolExecutor(4) as pool:
            senders = [pool.submit(self._send) for _ in range(4)]
            try:
                scenario()
            finally:
                self._is_over.set()
            for sender in senders:
                for tile, answer in sender.result():
                    self.sent.append(tile)
                    self.answered.append(answer["tile"]["sha256"])
        _logger.info("%d tiles in %d requests", self.n_answers, self.n_requests)

    def _send(self) -> list[tuple[bytes, dict[str, Any]]]:
        done = []
        with self._new_client() as client:
            client.event_hooks = {"request": [self._count]}
            while not self._is_over.is_set():
                number = next(self._numbers)
                tile = plain_tile((number % 256, number // 256, 150))
                self._n_answers_at_start[number] = self.n_answers
                done.append((tile, self._classify(client, tile, tries=TRIES)))
                del self._n_answers_at_start[number]
                with self._lock:
                    self.n_answers += 1
        return done

    def _count(self, _: httpx2.Request) -> None:
        with self._lock:
            self.n_requests += 1

    def assert_every_tile_is_answered_once(self) -> None:
        assert len(set(self.sent)) == len(self.sent) > 0
        assert self.answered == [hashlib.sha256(tile).hexdigest() for tile in self.sent]


@pytest.mark.parametrize(
    "program", ["nginx", pytest.param("haproxy", marks=pytest.mark.exhaustive)]
)
def test_every_tile_is_answered_once_though_a_replica_is_killed(
    program: str, tmp_path: Path
) -> None:
    with ReplicatedService(program, tmp_path) as service:
        workload = Workload(service.ingress.client)
        replica = service.replicas[0]

        def lose_one() -> None:
            wait_until(lambda: workload.n_answers >= 10)
            assert replica.server is not None
            # Stopped first, so that the kill certainly hits a request that it was sent.
            replica.server.process.send_signal(signal.SIGSTOP)
            wait_until(workload.has_stuck_request)
            replica.server.stop(signal.SIGKILL)
            n_before = workload.n_answers
            wait_until(lambda: workload.n_answers >= n_before + 10)
            replica.start(None, {})
            service.wait_for_state(0, "UP")
            n_before = workload.n_answers
            wait_until(lambda: workload.n_answers >= n_before + 10)

        workload.run(lose_one)
    workload.assert_every_tile_is_answered_once()
    if program == "haproxy":  # which cannot repeat a request by itself, as nginx does
        assert workload.n_requests > workload.n_answers


def test_client_tries_again_while_nothing_listens(tmp_path: Path) -> None:
    replica = Replica(tmp_path, free_port())
    try:
        server = replica.start(None, {})
        workload = Workload(lambda: httpx2.Client(base_url=server.url, timeout=60))

        def restart() -> None:
            wait_until(lambda: workload.n_answers >= 10)
            server.stop(signal.SIGKILL)
            replica.start(None, {})
            n_before = workload.n_answers
            wait_until(lambda: workload.n_answers >= n_before + 10)

        workload.run(restart)
    finally:
        replica.end()
    workload.assert_every_tile_is_answered_once()


def test_client_waits_as_long_as_a_rejection_says(tmp_path: Path) -> None:
    build_bundle(tmp_path / "models")
    app = create_app(Settings(models_dir=tmp_path / "models"), opener_of(FakeRuntime()))
    service = app.state.service
    waits_s: list[float] = []
    asked_s: list[float] = []
    program = documented_client()
    program["time"] = SimpleNamespace(sleep=waits_s.append)
    with serving(app) as (host, port), httpx2.Client(base_url=f"http://{host}:{port}") as client:
        wait_until(lambda: service.unready_reason is None)
        client.event_hooks = {
            "response": [lambda r: asked_s.append(float(r.headers.get("Retry-After", 0)))]
        }
        with (
            occupy(service, Settings().max_tiles_in_flight),
            pytest.raises(httpx2.HTTPStatusError, match="429"),
        ):
            program["classify"](client, plain_tile((200, 120, 160)), tries=3)
    assert len(waits_s) == 2
    assert all(wait_s >= s >= 1 for wait_s, s in zip(waits_s, asked_s, strict=False))


def test_client_waits_on_its_own_terms_if_an_ingress_says_a_date() -> None:
    date = {"Retry-After": "Fri, 27 Nov 2026 08:00:00 GMT"}
    answers = iter([httpx2.Response(503, headers=date), httpx2.Response(200, json={"ok": True})])
    program = documented_client()
    program["time"] = SimpleNamespace(sleep=lambda _: None)
    transport = httpx2.MockTransport(lambda _: next(answers))
    with httpx2.Client(base_url="http://x", transport=transport) as client:
        assert program["classify"](client, b"tile") == {"ok": True}


@pytest.mark.parametrize("status", [401, 422])
def test_client_does_not_repeat_what_would_fail_again(status: int) -> None:
    n_requests = itertools.count()

    def refuse(_: httpx2.Request) -> httpx2.Response:
        next(n_requests)
        return httpx2.Response(status)

    with (
        httpx2.Client(base_url="http://x", transport=httpx2.MockTransport(refuse)) as client,
        pytest.raises(httpx2.HTTPStatusError),
    ):
        documented_client()["classify"](client, b"tile")
    assert next(n_requests) == 1
