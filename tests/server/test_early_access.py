"""Who may call is decided on the headers, by the connection itself where it takes no waiting."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.access.caller import Scope
from app.api import access_control
from app.main import create_app
from app.server import tile_protocol
from app.serving.service import TileService
from app.settings import Settings
from tests.access.keys import bearer, make_key
from tests.bundles import FakeRuntime, opener_of, plain_tile
from tests.queues import occupy
from tests.server.connections import receive_all, statuses
from tests.servers import serving, wait_until

TILE = plain_tile((1, 200, 1))
LIMIT_TILES = 2
CLOSE = {"Connection": "close"}
WRONG = bearer("osteo_00000000_" + "A" * 43)


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def key(keys_file: Path) -> dict[str, str]:
    return make_key(keys_file, "lis", Scope.CLASSIFY)


@pytest.fixture
def other(keys_file: Path) -> dict[str, str]:
    """Another caller's key."""
    return make_key(keys_file, "other", Scope.CLASSIFY)


@pytest.fixture
def app(
    built_models: Path,
    runtime: FakeRuntime,
    keys_file: Path,
    key: dict[str, str],
    other: dict[str, str],
) -> FastAPI:
    assert {**key, **other}  # both are in the file before the service reads it
    settings = Settings(
        models_dir=built_models,
        max_tiles_in_flight=LIMIT_TILES,
        max_request_tiles=LIMIT_TILES,
        keys_file=keys_file,
        rate_limits="classify=3/hour",
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
    monkeypatch.setattr(tile_protocol, "REFUSED_PAUSE_S", 0.01)
    monkeypatch.setattr(access_control, "RATE_LIMITED_DELAY_S", 0.01)
    with serving(app) as found:
        wait_until(lambda: service.unready_reason is None)
        yield found


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=60)


def head(headers: dict[str, str], path: str = "/v1/classify", n_bytes: int = len(TILE)) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {n_bytes}"]
    lines += ["Content-Type: image/png", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "\r\n"]).encode()


def status_of(connection: socket.socket) -> int:
    response = HTTPResponse(connection, method="POST")
    response.begin()
    response.read()
    return response.status


def test_unknown_caller_is_refused_before_the_body_and_the_queue(
    address: tuple[str, int], service: TileService
) -> None:
    for path in ("/v1/classify", "/v1/classify?explain=1", "/v1/classify/batch/"):
        with connect(address) as connection, occupy(service, LIMIT_TILES):
            connection.sendall(head({}, path))  # no body: the answer comes on the headers
            assert status_of(connection) == 401
            connection.sendall(bytes(len(TILE)) + head(WRONG, path))
            assert status_of(connection) == 401


def test_missing_scope_is_refused_before_the_queue(
    address: tuple[str, int], service: TileService, key: dict[str, str]
) -> None:
    with connect(address) as connection, occupy(service, LIMIT_TILES):
        connection.sendall(head(key, "/v1/explain"))
        assert status_of(connection) == 403
        connection.sendall(bytes(len(TILE)) + head(key))
        assert status_of(connection) == 429


def test_rate_limit_is_judged_before_the_queue(
    address: tuple[str, int], service: TileService, key: dict[str, str]
) -> None:
    with connect(address) as connection:
        for _ in range(3):
            connection.sendall(head(key) + TILE)
            assert status_of(connection) == 200
        with occupy(service, LIMIT_TILES):
            connection.sendall(head(key))
            response = HTTPResponse(connection, method="POST")
            response.begin()
            assert b"/problems/rate-limited" in response.read()
            assert response.status == 429
    assert service.n_tiles_in_flight == 0


def test_known_caller_is_served_on_the_connection_of_a_refusal(
    address: tuple[str, int], key: dict[str, str]
) -> None:
    with connect(address) as connection:
        connection.sendall(head({}) + TILE + head(key | CLOSE) + TILE)
        assert statuses(receive_all(connection)) == [401, 200]


def test_requests_in_one_read_are_judged_each(
    address: tuple[str, int], key: dict[str, str]
) -> None:
    with connect(address) as connection:
        connection.sendall(head(key) + TILE + head(WRONG) + TILE + head(key | CLOSE) + TILE)
        assert statuses(receive_all(connection)) == [200, 401, 200]


def test_guesses_are_answered_late_and_others_meanwhile(
    address: tuple[str, int], key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.access.failed_attempts.FailedAttempts.delay_s", lambda *_: 0.5)
    with connect(address) as guessing, connect(address) as calling:
        asked = time.monotonic()
        guessing.sendall(head(WRONG))
        calling.sendall(head(key) + TILE)
        assert status_of(calling) == 200
        assert status_of(guessing) == 401
        assert time.monotonic() - asked >= 0.5


def test_caller_beyond_its_limit_is_answered_late_and_others_meanwhile(
    other: dict[str, str],
    address: tuple[str, int],
    key: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access_control, "RATE_LIMITED_DELAY_S", 0.5)
    with connect(address) as hasty, connect(address) as calling:
        for _ in range(3):
            hasty.sendall(head(key) + TILE)
            assert status_of(hasty) == 200
        asked = time.monotonic()
        hasty.sendall(head(key))
        calling.sendall(head(other) + TILE)
        assert status_of(calling) == 200
        assert status_of(hasty) == 429
        assert time.monotonic() - asked >= 0.5
