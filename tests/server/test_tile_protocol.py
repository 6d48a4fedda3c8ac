from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Iterator
from functools import partial
from http.client import HTTPResponse
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.main import create_app
from app.server import tile_protocol
from app.server.connection_limits import ConnectionLimits
from app.server.tile_protocol import DOOR, TILE_PATHS, Door
from app.serving import admission
from app.serving.service import TileService
from app.settings import Settings
from app.telemetry.metrics import Metrics
from tests.bundles import FakeRuntime, opener_of, plain_tile
from tests.servers import serving

TILE = plain_tile((200, 120, 160))
MAX_PIPELINED = int(ConnectionLimits().max_pipelined)
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
    monkeypatch.setattr(tile_protocol, "REFUSED_PAUSE_S", 0.01)
    monkeypatch.setattr(admission, "SLOW_UPLOAD_S", 30.0)  # nobody is slow here
    with serving(app) as address:
        deadline = time.monotonic() + 10
        while service.unready_reason and time.monotonic() < deadline:
            time.sleep(0.005)
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
    ("version", "headers"),
    [("1.0", ()), ("1.0", ("Connection: keep-alive",)), ("1.1", ("Connection: close",))],
)
def test_a_connection_that_is_not_to_be_kept_is_closed(
    address: tuple[str, int], service: TileService, version: str, headers: tuple[str, ...]
) -> None:
    with connect(address) as connection, service.admission.admit(LIMIT_TILES):
        connection.sendall(head("/v1/classify", *headers, version=version))
        status, response, _ = answer_of(connection)
        assert (status, response.headers["Connection"]) == (429, "close")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):  # a client sees an answer only once it has sent all
            connection.recv(1)
        connection.settimeout(2)  # an idle connection would be open for longer
        connection.sendall(TILE)
        assert connection.recv(1) == b""


def test_a_client_that_asks_first_need_not_send_its_body(
    address: tuple[str, int], service: TileService
) -> None:
    with connect(address) as connection, service.admission.admit(LIMIT_TILES):
        connection.sendall(head("/v1/classify", "Expect: 100-continue"))
        assert connection.recv(4096).startswith(b"HTTP/1.1 429 ")


@pytest.mark.parametrize(("n_others", "status"), [(0, 200), (LIMIT_TILES, 429)])
def test_an_offer_of_http_2_changes_nothing(
    address: tuple[str, int], service: TileService, n_others: int, status: int
) -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA")
    with connect(address) as connection, service.admission.admit(n_others):
        connection.sendall(head("/v1/classify", *offer) + TILE)
        assert answer_of(connection)[0] == status


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
        received += receive(connection)
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


def test_a_tile_that_is_worked_on_counts_once(
    address: tuple[str, int], service: TileService, runtime: FakeRuntime
) -> None:
    runtime.delay_s = 0.3
    with connect(address) as first, connect(address) as second:
        first.sendall(head() + TILE)
        deadline = time.monotonic() + 10
        while not service.admission.n_tiles and time.monotonic() < deadline:
            time.sleep(0.005)
        assert ask(second) == 200
        assert answer_of(first)[0] == 200


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
        deadline = time.monotonic() + 10
        while (status := ask(connection)) == 429:
            assert time.monotonic() < deadline
        assert status == 200


def test_nobody_is_expected_who_leaves_before_the_application_has_begun(
    address: tuple[str, int], service: TileService, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_out: list[object] = []
    with monkeypatch.context() as patched:
        patched.setattr(Door, "let_in", lambda _, go_in: kept_out.append(go_in))
        for _ in range(LIMIT_TILES):
            with connect(address) as leaving:
                leaving.sendall(head() + TILE)
        deadline = time.monotonic() + 10
        while len(kept_out) < LIMIT_TILES and time.monotonic() < deadline:
            time.sleep(0.005)
    with connect(address) as connection:
        while (status := ask(connection)) == 429:
            assert time.monotonic() < deadline
        assert status == 200
    assert service.admission.n_tiles == 0


def test_a_crowd_on_one_connection_is_not_refused_in_one_go(
    address: tuple[str, int], service: TileService, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_at_the_door = 0
    ask_door = Door.expect_or_refuse

    def count(self: Door, scope: Scope) -> Response | None:
        nonlocal n_at_the_door
        n_at_the_door += 1
        return ask_door(self, scope)

    monkeypatch.setattr(Door, "expect_or_refuse", count)
    one = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with connect(address) as crowd, service.admission.admit(LIMIT_TILES):
        crowd.sendall(one * MAX_PIPELINED)
        received = b""
        while received.count(b"HTTP/1.1 429 ") < MAX_PIPELINED:
            received += receive(crowd)
    assert 1 <= n_at_the_door <= 5, "one a read; the others take their turns"


def test_a_refusal_does_not_overtake_an_answer(
    address: tuple[str, int], service: TileService, runtime: FakeRuntime
) -> None:
    runtime.delay_s = 0.2
    with connect(address) as connection:
        connection.sendall(head("/v1/classify", "X-Request-ID: a") + TILE)
        deadline = time.monotonic() + 10
        while not service.admission.n_tiles and time.monotonic() < deadline:
            time.sleep(0.005)
        with service.admission.admit(LIMIT_TILES - 1):
            connection.sendall(head("/v1/classify", "X-Request-ID: b") + TILE)
            first, second = read_two(connection)
    assert b'"request_id":"a"' in first
    assert first.startswith(b"200")
    assert b'"request_id":"b"' in second


def test_without_a_model_nobody_is_told_that_tiles_are_worked_on(models_dir: Path) -> None:
    metrics = Metrics()
    settings = Settings(
        models_dir=models_dir, max_tiles_in_flight=LIMIT_TILES, max_request_tiles=LIMIT_TILES
    )
    service = TileService(settings, metrics)
    with service.admission.admit(LIMIT_TILES):
        scope = {"method": "POST", "path": "/v1/classify", "headers": [], "state": {}}
        assert Door(service, metrics).expect_or_refuse(scope) is None


def test_a_burst_comes_in_one_by_one(models_dir: Path) -> None:
    n_turns = 0
    started_in: list[int] = []

    def turn() -> None:
        nonlocal n_turns
        n_turns += 1
        asyncio.get_running_loop().call_soon(turn)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"][DOOR] = door_of(models_dir)
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


def door_of(models_dir: Path) -> Door:
    metrics = Metrics()
    return Door(TileService(Settings(models_dir=models_dir), metrics), metrics)


def test_one_comes_in_a_turn_of_the_event_loop(models_dir: Path) -> None:
    came_in: list[int] = []

    async def burst() -> None:
        door = door_of(models_dir)
        for i in range(3):
            door.let_in(partial(came_in.append, i))
        for n_turns in range(1, 4):
            assert came_in == list(range(n_turns))
            await asyncio.sleep(0)
        door.let_in(partial(came_in.append, 3))
        assert came_in == [0, 1, 2, 3], "at once where nobody waits"

    asyncio.run(burst())


REFUSED = b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000)
SERVED = b"GET /served HTTP/1.1\r\nHost: x\r\n\r\n"


async def refuse_or_serve(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers as the service does, without reading the body."""
    if scope["type"] != "http":
        return
    status = 429 if scope["path"] == "/refused" else 200
    if status == 429:
        scope["state"]["problem"] = "queue-full"
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def refusing() -> Iterator[tuple[str, int]]:
    with serving(refuse_or_serve) as address:
        yield address


def status_line(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    answer = b""
    while not answer.endswith(b"ok"):
        answer += receive(connection)
    return answer.splitlines()[0]


def test_a_refused_connection_is_not_read_for_a_while(
    refusing: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_protocol, "REFUSED_PAUSE_S", 0.8)
    monkeypatch.setattr("random.uniform", lambda *_: 1.0)
    with connect(refusing) as hasty:
        assert b"429" in status_line(hasty, REFUSED)
        refused = time.monotonic()
        time.sleep(0.1)  # what comes with the last of a refused body is read with it
        hasty.sendall(SERVED)
        with connect(refusing) as other:
            for _ in range(3):
                assert b"200" in status_line(other, SERVED)
        assert b"200" in hasty.recv(4096)
        assert time.monotonic() - refused > 0.7


def test_refusals_one_after_the_other_all_arrive(
    refusing: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_protocol, "REFUSED_PAUSE_S", 0.01)
    with connect(refusing) as hasty:
        # Two at once, as a client sends them that does not wait for answers.
        hasty.sendall(REFUSED + REFUSED)
        answers = b""
        while answers.count(b"ok") < 2:
            answers += receive(hasty)
        for _ in range(20):
            assert b"429" in status_line(hasty, REFUSED)


def test_a_refused_client_may_leave_while_it_is_not_read(
    refusing: tuple[str, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tile_protocol, "REFUSED_PAUSE_S", 0.05)
    for _ in range(5):
        with connect(refusing) as hasty:
            assert b"429" in status_line(hasty, REFUSED)
    time.sleep(0.1)
    with connect(refusing) as other:
        assert b"200" in status_line(other, SERVED)
    assert [line.message for line in caplog.records if line.levelno >= logging.ERROR] == []
