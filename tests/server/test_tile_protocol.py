"""Load shedding over real connections."""

from __future__ import annotations

import json
import logging
import socket
import struct
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import Scope

from app.api.load_shedding import TILE_PATHS, LoadShedder
from app.main import create_app
from app.server import tile_protocol
from app.server.connection_limits import ConnectionLimits
from app.serving import admission
from app.serving.service import TileService
from app.settings import Settings
from tests.bundles import FakeRuntime, opener_of, plain_tile
from tests.queues import occupy
from tests.servers import serving, wait_until

TILE = plain_tile((200, 120, 160))
MAX_PIPELINED = int(ConnectionLimits().max_pipelined)
LIMIT_TILES = 2
RESET = struct.pack("ii", 1, 0)
IN_TOTAL = 'osteo_request_problems_total{problem="queue-full"}'


@pytest.fixture(scope="module")
def lasting_runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def runtime(lasting_runtime: FakeRuntime) -> Iterator[FakeRuntime]:
    yield lasting_runtime
    lasting_runtime.delay_s = 0.0


@pytest.fixture(scope="module")
def app(built_models: Path, lasting_runtime: FakeRuntime) -> FastAPI:
    settings = Settings(
        models_dir=built_models, max_tiles_in_flight=LIMIT_TILES, max_request_tiles=LIMIT_TILES
    )
    return create_app(settings, opener_of(lasting_runtime))


@pytest.fixture(scope="module")
def service(app: FastAPI) -> TileService:
    found: TileService = app.state.service
    return found


@pytest.fixture(scope="module")
def address(app: FastAPI, service: TileService) -> Iterator[tuple[str, int]]:
    """Host and port of the application, ready."""
    with pytest.MonkeyPatch.context() as patched, serving(app) as address:
        patched.setattr(tile_protocol, "REFUSED_PAUSE_S", 0.01)
        patched.setattr(admission, "SLOW_UPLOAD_S", 600.0)  # no reservation expires
        wait_until(lambda: service.unready_reason is None)
        yield address


def head(path: str = "/v1/classify", *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(TILE)}", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode()


def receive(connection: socket.socket) -> bytes:
    received = connection.recv(65_536)
    assert received, "the connection was closed"
    return received


def answer_of(connection: socket.socket) -> tuple[int, HTTPResponse, dict[str, object]]:
    response = HTTPResponse(connection, method="POST")
    response.begin()
    return response.status, response, json.loads(response.read())


def read_two(connection: socket.socket) -> list[bytes]:
    """Two answers, each from its status on."""
    received = b""
    while received.count(b'"request_id"') < 2 or not received.endswith(b"}"):
        received += receive(connection)
    return received.split(b"HTTP/1.1 ")[1:]


def ask(connection: socket.socket, path: str = "/v1/classify") -> int:
    connection.sendall(head(path) + TILE)
    return answer_of(connection)[0]


def rejections(address: tuple[str, int], path: str) -> list[float]:
    """How many there were at a path, and in total."""
    lines = httpx2.get("http://{}:{}/metrics".format(*address)).text.splitlines()
    metrics = dict(line.rsplit(" ", 1) for line in lines)
    here = f'osteo_requests_total{{route="{path}",status="429"}}'
    return [float(metrics.get(name, 0)) for name in (here, IN_TOTAL)]


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=60)


@pytest.mark.parametrize("path", sorted(TILE_PATHS))
def test_rejection_is_counted_and_logged_and_leaves_the_connection_open(
    address: tuple[str, int], service: TileService, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(address) as connection, caplog.at_level(logging.INFO):
        before = rejections(address, path)
        with occupy(service, LIMIT_TILES):
            connection.sendall(head(f"{path}?explain=true", "X-Request-ID: mine") + TILE)
            status, response, problem = answer_of(connection)
            assert (status, problem["type"]) == (429, "/problems/queue-full")
            assert problem["request_id"] == response.headers["X-Request-ID"] == "mine"
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.headers["Retry-After"] == str(problem["retry_after_s"])
            assert response.headers["Date"]
        assert ask(connection) == 200
        assert rejections(address, path) == [n + 1 for n in before]
    (line,) = [vars(line) for line in caplog.records if vars(line).get("status") == 429]
    expected = {"request_id": "mine", "method": "POST", "route": path, "problem": "queue-full"}
    assert expected.items() <= line.items()


def test_request_without_a_tile_is_not_rejected(
    address: tuple[str, int], service: TileService
) -> None:
    with connect(address) as connection, occupy(service, LIMIT_TILES):
        for path in ("/livez", "/v1/models", "/v1/classify", "/v1/explain", "/v1/nothing"):
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert answer_of(connection)[0] in {200, 404, 405}, path


def test_rejection_comes_before_validation(address: tuple[str, int], service: TileService) -> None:
    with connect(address) as connection:
        with occupy(service, LIMIT_TILES):
            assert ask(connection, "/v1/classify?explain=maybe") == 429
        assert ask(connection, "/v1/classify?explain=maybe") == 422


@pytest.mark.parametrize(
    ("version", "headers"),
    [("1.0", ()), ("1.0", ("Connection: keep-alive",)), ("1.1", ("Connection: close",))],
)
def test_connection_that_is_not_persistent_is_closed_after_the_body(
    address: tuple[str, int], service: TileService, version: str, headers: tuple[str, ...]
) -> None:
    with connect(address) as connection, occupy(service, LIMIT_TILES):
        connection.sendall(head("/v1/classify", *headers, version=version))
        status, response, _ = answer_of(connection)
        assert (status, response.headers["Connection"]) == (429, "close")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):  # a client that is still sending must see the answer
            connection.recv(1)
        connection.settimeout(2)  # less than the keep-alive of an idle connection
        connection.sendall(TILE)
        assert connection.recv(1) == b""


def test_client_that_expects_100_continue_need_not_send_its_body(
    address: tuple[str, int], service: TileService
) -> None:
    with connect(address) as connection, occupy(service, LIMIT_TILES):
        connection.sendall(head("/v1/classify", "Expect: 100-continue"))
        assert connection.recv(4096).startswith(b"HTTP/1.1 429 ")


@pytest.mark.parametrize(("n_others", "status"), [(0, 200), (LIMIT_TILES, 429)])
def test_offer_of_http_2_changes_nothing(
    address: tuple[str, int], service: TileService, n_others: int, status: int
) -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA")
    with connect(address) as connection, occupy(service, n_others):
        connection.sendall(head("/v1/classify", *offer) + TILE)
        assert answer_of(connection)[0] == status


@pytest.mark.parametrize(("n_others", "status"), [(0, b"200"), (LIMIT_TILES, b"429")])
def test_pipelined_requests_are_answered_in_order(
    address: tuple[str, int],
    service: TileService,
    runtime: FakeRuntime,
    n_others: int,
    status: bytes,
) -> None:
    runtime.delay_s = 0.02
    with connect(address) as connection, occupy(service, n_others):
        connection.sendall(
            b"".join(head("/v1/classify", f"X-Request-ID: {i}") + TILE for i in "ab")
        )
        first, second = read_two(connection)
    assert first.startswith(status)
    assert b'"request_id":"a"' in first
    assert second.startswith(status)
    assert b'"request_id":"b"' in second


def test_place_is_reserved_once_the_headers_are_read(address: tuple[str, int]) -> None:
    connected = [connect(address) for _ in range(LIMIT_TILES + 1)]
    *reserved, late = connected
    for connection in reserved:
        connection.sendall(head())
    with connect(address) as other:
        other.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")  # the headers have been read
        assert answer_of(other)[0] == 200
    assert ask(late) == 429
    for connection in reserved:
        connection.sendall(TILE)
        assert answer_of(connection)[0] == 200
    assert ask(late) == 200
    for connection in connected:
        connection.close()


def test_tile_in_flight_counts_once(
    address: tuple[str, int], service: TileService, runtime: FakeRuntime
) -> None:
    runtime.delay_s = 0.3
    with connect(address) as first, connect(address) as second:
        first.sendall(head() + TILE)
        wait_until(lambda: service.n_tiles_in_flight > 0)
        assert ask(second) == 200
        assert answer_of(first)[0] == 200


def test_place_is_released_after_an_invalid_request(address: tuple[str, int]) -> None:
    with connect(address) as connection:
        for _ in range(2 * LIMIT_TILES):
            assert ask(connection, "/v1/classify?explain=maybe") == 422
        assert ask(connection) == 200


def test_place_is_released_when_the_client_disconnects(address: tuple[str, int]) -> None:
    for _ in range(2 * LIMIT_TILES):
        with connect(address) as leaving:
            leaving.sendall(head())
    with connect(address) as connection:
        wait_until(lambda: ask(connection) == 200)


def test_place_is_released_when_the_client_disconnects_before_the_application_starts(
    address: tuple[str, int], service: TileService, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_started: list[object] = []
    with monkeypatch.context() as patched:
        patched.setattr(LoadShedder, "start_in_turn", lambda _, start: not_started.append(start))
        for _ in range(LIMIT_TILES):
            with connect(address) as leaving:
                leaving.sendall(head() + TILE)
                leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)  # not half-close
        wait_until(lambda: len(not_started) == LIMIT_TILES)
    with connect(address) as connection:
        wait_until(lambda: ask(connection) == 200)
    assert service.n_tiles_in_flight == 0


def test_pipelined_requests_are_rejected_one_by_one(
    address: tuple[str, int], service: TileService, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_early_rejections = 0
    reserve_or_reject = LoadShedder.reserve_or_reject

    def count(self: LoadShedder, scope: Scope) -> Response | None:
        nonlocal n_early_rejections
        n_early_rejections += 1
        return reserve_or_reject(self, scope)

    monkeypatch.setattr(LoadShedder, "reserve_or_reject", count)
    one = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with connect(address) as crowd, occupy(service, LIMIT_TILES):
        crowd.sendall(one * MAX_PIPELINED)
        received = b""
        while received.count(b"HTTP/1.1 429 ") < MAX_PIPELINED:
            received += receive(crowd)
    assert 1 <= n_early_rejections <= 5, "one per read; the others take turns"


def test_rejection_does_not_overtake_an_answer(
    address: tuple[str, int], service: TileService, runtime: FakeRuntime
) -> None:
    runtime.delay_s = 0.2
    with connect(address) as connection:
        connection.sendall(head("/v1/classify", "X-Request-ID: a") + TILE)
        wait_until(lambda: service.n_tiles_in_flight > 0)
        with occupy(service, LIMIT_TILES - 1):
            connection.sendall(head("/v1/classify", "X-Request-ID: b") + TILE)
            first, second = read_two(connection)
    assert b'"request_id":"a"' in first
    assert first.startswith(b"200")
    assert b'"request_id":"b"' in second
