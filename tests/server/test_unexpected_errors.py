"""An answer to a request that failed unexpectedly says that the connection is closed."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.main import create_app
from app.settings import Settings
from tests.bundles import FakeRuntime, opener_of
from tests.server.connections import receive_all, statuses
from tests.servers import serving

FAIL = b"GET /fail HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine\r\n\r\n"


@pytest.fixture
def app(models_dir: Path, runtime: FakeRuntime) -> FastAPI:
    """The service, with routes that fail and never end."""
    app = create_app(Settings(models_dir=models_dir), opener_of(runtime))

    @app.get("/fail")
    async def fail() -> None:
        raise ValueError("a secret")

    @app.get("/wait")
    async def wait() -> None:
        await asyncio.sleep(600)

    return app


@pytest.fixture
def address(app: FastAPI) -> Iterator[tuple[str, int]]:
    with serving(app) as address:
        yield address


def test_unexpected_error_closes_the_connection_and_says_so(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(FAIL)
        response = HTTPResponse(connection)
        response.begin()
        body = response.read()
        assert (response.status, response.headers["Connection"]) == (500, "close")
        assert response.headers["X-Request-ID"] == json.loads(body)["request_id"] == "mine"
        assert b"secret" not in body
        assert connection.recv(1) == b""


def test_requests_behind_an_unexpected_error_get_no_answer(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(FAIL + FAIL.replace(b"fail", b"livez"))
        assert statuses(receive_all(connection)) == [500]


def test_unexpected_error_is_counted_as_a_problem(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(FAIL)
        receive_all(connection)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        metrics = receive_all(connection)
    assert b'osteo_request_problems_total{problem="internal-error"} 1.0' in metrics
    assert b'osteo_requests_total{route="/fail",status="500"} 1.0' in metrics


def test_request_that_outlasts_the_drain_is_told_so(app: FastAPI) -> None:
    received: list[bytes] = []

    def ask_and_wait() -> None:
        with connection:
            connection.sendall(FAIL.replace(b"fail", b"wait"))
            received.append(receive_all(connection))

    with serving(app, shutdown_timeout_s=1) as address:
        connection = socket.create_connection(address, timeout=60)
        client = threading.Thread(target=ask_and_wait)
        client.start()
        time.sleep(0.3)  # the request has been read when the server stops
    client.join()
    assert statuses(received[0]) == [503]
    assert b"connection: close" in received[0].lower()
    assert b"x-request-id: mine" in received[0].lower()
