from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from app.api import connections
from app.api.door import DOOR, TILE_PATHS, Door
from app.main import create_app
from app.metrics import Metrics
from app.scheduling import Admission
from app.service import TileService
from app.settings import Settings
from tests.bundles import FakeRuntime, opener_of, plain_tile
from tests.servers import serving

TILE = plain_tile((200, 120, 160))
LIMIT_TILES = 2


@pytest.fixture
def app(models_dir: Path, runtime: FakeRuntime) -> FastAPI:
    settings = Settings(
        models_dir=models_dir, max_tiles_in_flight=LIMIT_TILES, max_request_tiles=LIMIT_TILES
    )
    return create_app(settings, opener_of(runtime))


@pytest.fixture
def service(app: FastAPI) -> TileService:
    found = app.state.service
    assert isinstance(found, TileService)
    return found


@pytest.fixture
def address(
    app: FastAPI, service: TileService, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, int]]:
    """The application behind real connections, ready."""
    monkeypatch.setattr(connections, "REFUSED_PAUSE_S", 0.01)
    with serving(app) as address:
        while service.unready_reason:
            time.sleep(0.005)
        yield address


def head(path: str = "/v1/classify", *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(TILE)}", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode()


def answer_of(connection: socket.socket) -> tuple[int, HTTPResponse, dict[str, object]]:
    response = HTTPResponse(connection, method="POST")
    response.begin()
    return response.status, response, json.loads(response.read())


def ask(connection: socket.socket, path: str = "/v1/classify") -> int:
    connection.sendall(head(path) + TILE)
    return answer_of(connection)[0]


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=10)


def test_tile_paths_are_the_routes_that_can_find_the_queue_full(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    refusing = {
        path for path, item in paths.items() if "429" in item.get("post", {}).get("responses", {})
    }
    assert refusing == TILE_PATHS


@pytest.mark.parametrize("path", sorted(TILE_PATHS))
def test_a_refusal_is_counted_logged_and_leaves_the_connection_open(
    address: tuple[str, int],
    service: TileService,
    path: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with connect(address) as connection, caplog.at_level(logging.INFO):
        with service.admission.admit(LIMIT_TILES):
            connection.sendall(head(f"{path}?explain=true", "X-Request-ID: mine") + TILE)
            status, response, problem = answer_of(connection)
            assert status == 429
            assert problem["type"] == "/problems/queue-full"
            assert problem["request_id"] == response.headers["X-Request-ID"] == "mine"
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.headers["Retry-After"] == str(problem["retry_after_s"])
            assert response.headers["Date"]
        assert ask(connection) == 200
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        response = HTTPResponse(connection)
        response.begin()
        metrics = response.read().decode()
    assert f'osteo_requests_total{{route="{path}",status="429"}} 1.0' in metrics
    assert 'osteo_request_problems_total{problem="queue-full"} 1.0' in metrics
    (line,) = [vars(line) for line in caplog.records if vars(line).get("status") == 429]
    logged = {key: line[key] for key in ("request_id", "method", "route", "problem")}
    assert logged == {
        "request_id": "mine",
        "method": "POST",
        "route": path,
        "problem": "queue-full",
    }


@pytest.mark.parametrize(
    "path", ["/livez", "/v1/models", "/v1/classify", "/v1/explain", "/v1/nothing"]
)
def test_what_brings_no_tile_comes_in(
    address: tuple[str, int], service: TileService, path: str
) -> None:
    with connect(address) as connection, service.admission.admit(LIMIT_TILES):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer_of(connection)[0] in {200, 404, 405}


def test_a_refusal_comes_before_anything_else_is_looked_at(
    address: tuple[str, int], service: TileService
) -> None:
    with connect(address) as connection:
        with service.admission.admit(LIMIT_TILES):
            assert ask(connection, "/v1/classify?explain=maybe") == 429
        assert ask(connection, "/v1/classify?explain=maybe") == 422


@pytest.mark.parametrize(
    ("version", "headers"), [("1.0", ()), ("1.1", ("Connection: close",)), ("1.0", ("A: b",))]
)
def test_a_connection_that_is_not_to_be_kept_is_closed(
    address: tuple[str, int], service: TileService, version: str, headers: tuple[str, ...]
) -> None:
    with connect(address) as connection, service.admission.admit(LIMIT_TILES):
        connection.sendall(head("/v1/classify", *headers, version=version))
        status, response, _ = answer_of(connection)
        assert (status, response.headers["Connection"]) == (429, "close")
        assert connection.recv(1) == b""


def test_a_client_that_asks_first_need_not_send_its_body(
    address: tuple[str, int], service: TileService
) -> None:
    with connect(address) as connection, service.admission.admit(LIMIT_TILES):
        connection.sendall(head("/v1/classify", "Expect: 100-continue"))
        assert connection.recv(4096).startswith(b"HTTP/1.1 429 ")


def test_an_offered_upgrade_changes_nothing(address: tuple[str, int], service: TileService) -> None:
    offer = ("Connection: Upgrade", "Upgrade: h2c")
    with connect(address) as connection, service.admission.admit(LIMIT_TILES):
        connection.sendall(head("/v1/classify", *offer) + TILE)
        assert answer_of(connection)[0] == 429


@pytest.mark.parametrize(("n_others", "status"), [(0, b"200"), (LIMIT_TILES, b"429")])
def test_requests_sent_without_waiting_are_answered_in_turn(
    address: tuple[str, int],
    service: TileService,
    runtime: FakeRuntime,
    n_others: int,
    status: bytes,
) -> None:
    runtime.delay_s = 0.02
    with connect(address) as connection, service.admission.admit(n_others):
        connection.sendall(
            b"".join(head("/v1/classify", f"X-Request-ID: {i}") + TILE for i in "ab")
        )
        first, second = read_two(connection)
    assert first.startswith(status)
    assert b'"request_id":"a"' in first
    assert second.startswith(status)
    assert b'"request_id":"b"' in second


def read_two(connection: socket.socket) -> list[bytes]:
    """Two answers, each from its status on."""
    received = b""
    while received.count(b'"request_id"') < 2 or not received.endswith(b"}"):
        received += connection.recv(65536)
    return received.split(b"HTTP/1.1 ")[1:]


def test_who_has_come_in_is_expected(address: tuple[str, int]) -> None:
    connected = [connect(address) for _ in range(LIMIT_TILES + 1)]
    *expected, late = connected
    for connection in expected:
        connection.sendall(head())
    with connect(address) as other:
        other.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")  # the heads have been read
        assert answer_of(other)[0] == 200
    assert ask(late) == 429
    for connection in expected:
        connection.sendall(TILE)
        assert answer_of(connection)[0] == 200
    assert ask(late) == 200
    for connection in connected:
        connection.close()


def test_nobody_is_expected_whose_request_was_wrong(address: tuple[str, int]) -> None:
    with connect(address) as connection:
        for _ in range(2 * LIMIT_TILES):
            assert ask(connection, "/v1/classify?explain=maybe") == 422
        assert ask(connection) == 200


def test_nobody_is_expected_who_has_left(address: tuple[str, int]) -> None:
    for _ in range(2 * LIMIT_TILES):
        with connect(address) as leaving:
            leaving.sendall(head())
    with connect(address) as connection:
        deadline = time.monotonic() + 0.5  # before a slow upload would no longer count
        while (status := ask(connection)) == 429:
            assert time.monotonic() < deadline
        assert status == 200


def test_a_burst_comes_in_one_by_one() -> None:
    n_turns = 0
    started_in: list[int] = []

    def turn() -> None:
        nonlocal n_turns
        n_turns += 1
        asyncio.get_running_loop().call_soon(turn)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"][DOOR] = Door(Admission(9, lambda _: None), Metrics())
            turn()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if not started_in:
            time.sleep(0.3)  # noqa: ASYNC251 - keeps the loop while the others send
        started_in.append(n_turns)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    request = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with serving(app) as address:
        first, *others = [connect(address) for _ in range(5)]
        time.sleep(0.1)  # all are connected
        first.sendall(request)
        time.sleep(0.1)
        for connection in others:
            connection.sendall(request)
        for connection in (first, *others):
            assert connection.recv(4096).startswith(b"HTTP/1.1 204")
            connection.close()
    assert len(started_in) == len(set(started_in)) == 5


def test_one_comes_in_a_turn_of_the_event_loop() -> None:
    came_in: list[int] = []

    async def burst() -> None:
        door = Door(Admission(9, lambda _: None), Metrics())
        for i in range(3):
            door.let_in(lambda i=i: came_in.append(i))  # type: ignore[misc] # i is bound
        for n_turns in range(1, 4):
            assert came_in == list(range(n_turns))
            await asyncio.sleep(0)
        door.let_in(lambda: came_in.append(3))
        assert came_in == [0, 1, 2, 3], "at once where nobody waits"

    asyncio.run(burst())
