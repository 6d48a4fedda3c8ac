"""Wrong keys of an address that keeps failing are answered late, by the connection itself."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPResponse
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.access.caller import Scope
from app.main import create_app
from app.server import tile_protocol
from app.settings import Settings
from tests.access.keys import bearer, make_key
from tests.bundles import FakeRuntime, opener_of, plain_tile
from tests.servers import serving, wait_until

TILE = plain_tile((1, 200, 1))
WRONG = bearer("osteo_00000000_" + "A" * 43)
DELAY_S = 0.3


@pytest.fixture
def key(tmp_path: Path) -> dict[str, str]:
    return make_key(tmp_path / "keys.json", "lis", Scope.CLASSIFY)


@pytest.fixture
def app(built_models: Path, tmp_path: Path, key: dict[str, str]) -> FastAPI:
    assert key
    settings = Settings(models_dir=built_models, keys_file=tmp_path / "keys.json")
    return create_app(settings, opener_of(FakeRuntime()))


@pytest.fixture
def connection(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A connection of an address whose next failure is answered late."""
    monkeypatch.setattr(tile_protocol, "REFUSED_PAUSE_S", 0.01)
    monkeypatch.setattr("app.access.failed_attempts.FailedAttempts.delay_s", lambda *_: DELAY_S)
    with serving(app) as address:
        wait_until(lambda: app.state.service.unready_reason is None)
        with closing(socket.create_connection(address, timeout=60)) as opened:
            yield opened


def request(headers: dict[str, str]) -> bytes:
    lines = ["POST /v1/classify HTTP/1.1", "Host: x", f"Content-Length: {len(TILE)}"]
    lines += ["Content-Type: image/png", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "\r\n"]).encode() + TILE


def answer_to(connection: socket.socket) -> HTTPResponse:
    response = HTTPResponse(connection, method="POST")
    response.begin()
    response.read()
    return response


def test_late_answer_leaves_the_connection_usable(
    connection: socket.socket, key: dict[str, str]
) -> None:
    for _ in range(2):
        asked = time.monotonic()
        connection.sendall(request(WRONG))
        assert answer_to(connection).status == 401
        assert time.monotonic() - asked >= DELAY_S
        connection.sendall(request(key))
        assert answer_to(connection).status == 200


def test_late_answer_to_the_last_request_closes_the_connection(
    connection: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The connection would be closed later by the time limit to the next request.
    monkeypatch.setattr("app.server.timer.Timer.start", lambda *_: None)
    connection.settimeout(30)
    connection.sendall(request({**WRONG, "Connection": "close"}))
    response = answer_to(connection)
    assert (response.status, response.getheader("Connection")) == (401, "close")
    assert connection.recv(1) == b""


def test_request_behind_a_late_answer_cannot_hurry_it(
    connection: socket.socket, key: dict[str, str]
) -> None:
    connection.sendall(request(WRONG) + request(key))
    with pytest.raises(ConnectionError):
        _require_bytes(connection)


def _require_bytes(connection: socket.socket) -> None:
    if not connection.recv(1):
        raise ConnectionError("it was closed without an answer")


def test_client_that_leaves_before_a_late_answer_disturbs_nobody(
    app: FastAPI, connection: socket.socket, key: dict[str, str]
) -> None:
    with closing(socket.create_connection(connection.getpeername(), timeout=60)) as leaving:
        leaving.sendall(request(WRONG))
    asked = time.monotonic()
    while time.monotonic() - asked < 2 * DELAY_S:
        connection.sendall(request(key))
        assert answer_to(connection).status == 200
    assert app.state.service.n_tiles_in_flight == 0
