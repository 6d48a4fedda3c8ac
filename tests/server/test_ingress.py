"""The service behind a real nginx and a real HAProxy, both ending TLS and reusing connections."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.types import Receive, Scope, Send

from app.main import create_app
from app.serving.service import TileService
from app.settings import Settings
from tests.bundles import FakeRuntime, build_bundle, opener_of, plain_tile
from tests.queues import occupy
from tests.server.connections import statuses
from tests.server.ingresses import PROGRAMS, Ingress, ingress, shipped_configuration
from tests.servers import serving, wait_until

TILE = plain_tile((200, 120, 160))
LIMIT_TILES = 64


class CountedConnections:
    """An application, and the connections over which it was asked; checks of health apart."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.clients: set[object] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/readyz":
            self.clients.add(tuple(scope["client"]))
        await self.app(scope, receive, send)

    @property
    def service(self) -> TileService:
        service = self.app.state.service
        assert isinstance(service, TileService)
        return service


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> CountedConnections:
    """The service, with a route that fails."""
    models_dir = tmp_path_factory.mktemp("behind") / "models"
    build_bundle(models_dir)
    settings = Settings(
        models_dir=models_dir,
        state_dir=models_dir.parent / "state",
        max_tiles_in_flight=LIMIT_TILES,
    )
    app = create_app(settings, opener_of(FakeRuntime()))

    @app.post("/fail")
    async def fail() -> None:
        raise ValueError

    return CountedConnections(app)


@pytest.fixture(scope="module")
def upstream(counted: CountedConnections) -> Iterator[tuple[str, int]]:
    with serving(counted, keep_alive_s=Settings().keep_alive_s) as address:
        wait_until(lambda: counted.service.unready_reason is None)
        yield address


@pytest.fixture(scope="module", params=PROGRAMS)
def proxy(
    request: pytest.FixtureRequest,
    upstream: tuple[str, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Ingress]:
    with ingress(request.param, tmp_path_factory.mktemp("proxy"), [upstream]) as proxy:
        yield proxy


def test_connections_to_the_service_are_reused(proxy: Ingress, counted: CountedConnections) -> None:
    counted.clients.clear()
    with proxy.client() as client:
        for _ in range(20):
            assert client.post("/v1/classify", content=TILE).status_code == 200
    assert len(counted.clients) <= 2


def test_errors_do_not_cut_other_clients(proxy: Ingress) -> None:
    is_over = threading.Event()

    def fail() -> int:
        n_failures = 0
        with proxy.client() as client:
            while not is_over.is_set():
                answer = client.post("/fail", content=b"")
                assert answer.status_code == 500
                assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
                n_failures += 1
        return n_failures

    def classify() -> set[int]:
        with proxy.client() as client:
            answers = [client.post("/v1/classify", content=TILE) for _ in range(5)]
        return {answer.status_code for answer in answers}

    with ThreadPoolExecutor(6) as pool:
        failing = [pool.submit(fail) for _ in range(2)]
        innocent = [pool.submit(classify) for _ in range(4)]
        answers = [client.result() for client in innocent]
        is_over.set()
        assert all(client.result() > 0 for client in failing)
    assert answers == [{200}] * 4


def test_absurd_content_length_does_not_cut_other_clients(proxy: Ingress) -> None:
    length = b"0" * 5000 + b"5"
    hostile = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n\r\nbytes" % length
    with proxy.client() as innocent:
        for _ in range(5):
            with proxy.connect() as connection:
                connection.sendall(hostile)
                (status,) = statuses(connection.recv(65_536))
            assert status in {400, 413, 415}, "nginx sends a number of its own: 5"
            assert innocent.post("/v1/classify", content=TILE).status_code == 200


def test_rejection_says_when_to_retry(proxy: Ingress, counted: CountedConnections) -> None:
    with occupy(counted.service, LIMIT_TILES), proxy.client() as client:
        answer = client.post("/v1/classify", content=TILE)
    assert answer.status_code == 429
    assert answer.json()["type"] == "/problems/queue-full"
    assert answer.headers["Retry-After"] == str(answer.json()["retry_after_s"])


def test_large_tile_is_classified(proxy: Ingress) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2400, 2400, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG", compress_level=0)
    assert 16 * 1024**2 < file.tell() < Settings().max_tile_bytes
    with proxy.client() as client:
        assert client.post("/v1/classify", content=file.getvalue()).status_code == 200


def test_slide_is_uploaded_though_it_is_larger_than_a_request_with_tiles(proxy: Ingress) -> None:
    n_bytes = Settings().max_request_bytes + 1024**2
    with proxy.client() as client:
        begun = client.post("/v1/uploads", headers={"Upload-Length": str(n_bytes)})
        answer = client.put(f"/v1/uploads/{begun.json()['id']}", content=bytes(n_bytes))
        assert answer.json()["offset"] == n_bytes


def test_what_arrived_of_an_interrupted_upload_is_kept(proxy: Ingress) -> None:
    # The service writes this much at once. A proxy may drop what it has not passed on when its
    # client leaves.
    n_bytes, n_sent = 64 * 1024**2, 512 * 1024
    with proxy.client() as client:
        begun = client.post("/v1/uploads", headers={"Upload-Length": str(n_bytes)})
        path = f"/v1/uploads/{begun.json()['id']}"
        with proxy.connect() as connection:
            head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {n_bytes}\r\n\r\n"
            connection.sendall(head.encode() + bytes(n_sent))
            wait_until(lambda: client.get(path).json()["offset"] > 0)
        wait_until(lambda: client.get(path).json()["offset"] == n_sent)


def test_idle_connection_is_used_again(proxy: Ingress, counted: CountedConnections) -> None:
    with proxy.client() as client:
        assert client.get("/livez").status_code == 200
        counted.clients.clear()
        assert client.get("/livez").status_code == 200
        before = set(counted.clients)
        time.sleep(1.5)
        assert client.get("/livez").status_code == 200
    assert counted.clients == before


@pytest.mark.parametrize(
    ("program", "directive"),
    [("nginx", r"\bkeepalive_timeout (\d+)s;"), ("haproxy", r"pool-purge-delay (\d+)s")],
)
def test_ingress_closes_idle_connections_before_the_service(program: str, directive: str) -> None:
    found = re.search(directive, shipped_configuration(program))
    assert found
    assert int(found[1]) < Settings().keep_alive_s
