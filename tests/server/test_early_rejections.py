"""What a connection answers before the application sees a request, and what a client then sees."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from app.main import create_app
from app.server import tile_protocol
from app.serving.service import TileService
from app.settings import Settings
from tests.bundles import FakeRuntime, opener_of, plain_tile
from tests.queues import occupy
from tests.server.connections import receive_all, receive_until
from tests.servers import serving, wait_until

TILE = plain_tile((1, 200, 1))
LIMIT_TILES = 2
VIEWER = "https://viewer.example.org"


@pytest.fixture(scope="module")
def app(built_models: Path) -> FastAPI:
    settings = Settings(
        models_dir=built_models,
        max_tiles_in_flight=LIMIT_TILES,
        max_request_tiles=LIMIT_TILES,
        cors_origins=VIEWER,
    )
    return create_app(settings, opener_of(FakeRuntime()))


@pytest.fixture(scope="module")
def service(app: FastAPI) -> TileService:
    found = app.state.service
    assert isinstance(found, TileService)
    return found


@pytest.fixture(scope="module")
def url(app: FastAPI, service: TileService) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patched, serving(app) as (host, port):
        patched.setattr(tile_protocol, "REFUSED_PAUSE_S", 0.01)
        wait_until(lambda: service.unready_reason is None)
        yield f"http://{host}:{port}"


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def head(*headers: str, path: str = "/v1/classify", n_bytes: int = len(TILE)) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {n_bytes}", *headers, "\r\n"]
    return "\r\n".join(lines).encode()


def answer_of(connection: socket.socket) -> tuple[int, HTTPResponse, dict[str, object]]:
    response = HTTPResponse(connection, method="POST")
    response.begin()
    return response.status, response, json.loads(response.read())


@pytest.mark.parametrize("path", ["/v1/classify/", "/v1/explain//", "/v1/classify/batch/"])
def test_full_queue_is_noticed_at_both_spellings(url: str, service: TileService, path: str) -> None:
    def n_counted() -> int:
        found = re.search(
            rf'osteo_requests_total{{route="{path.rstrip("/")}",status="429"}} (\d+)',
            httpx2.get(f"{url}/metrics").text,
        )
        return int(found[1]) if found else 0

    n_before = n_counted()
    with connect(url) as connection, occupy(service, LIMIT_TILES):
        connection.sendall(head(path=path))  # no body: it is rejected on its headers
        assert answer_of(connection)[0] == 429
    assert n_counted() == n_before + 1


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/classify/"])
@pytest.mark.parametrize("given", ["", "x" * 129, "a\tb"])
def test_wrong_request_id_is_refused_on_the_headers(url: str, path: str, given: str) -> None:
    with connect(url) as connection:
        for _ in range(2 * LIMIT_TILES):  # no place in the queue stays reserved
            connection.sendall(head(f"X-Request-ID: {given}", path=path))
            status, response, problem = answer_of(connection)
            assert (status, problem["type"]) == (400, "/problems/invalid-request-id")
            assert problem["request_id"] == response.headers["X-Request-ID"]
            assert problem["pattern"] == "^[ -~]{1,128}$"
            connection.sendall(TILE)  # the body that the server discards
        connection.sendall(head("X-Request-ID: ORDER 4711/2") + TILE)
        status, response, result = answer_of(connection)
        assert (status, result["request_id"]) == (200, "ORDER 4711/2")


def test_several_request_ids_are_refused_on_the_headers(url: str) -> None:
    with connect(url) as connection:
        connection.sendall(head("X-Request-ID: a", "X-Request-ID: b"))
        assert answer_of(connection)[0] == 400


@pytest.mark.parametrize(("origin", "allowed"), [(VIEWER, VIEWER), ("https://evil.example", None)])
def test_early_rejections_can_be_read_by_an_allowed_origin_only(
    url: str, service: TileService, origin: str, allowed: str | None
) -> None:
    with connect(url) as connection, occupy(service, LIMIT_TILES):
        for extra, expected in (("X-A: b", 429), ("X-Request-ID:", 400)):
            connection.sendall(head(f"Origin: {origin}", extra) + TILE)
            status, response, _ = answer_of(connection)
            assert status == expected
            assert response.headers["Access-Control-Allow-Origin"] == allowed
            assert response.headers["Vary"] == "Origin"


def test_body_that_is_refused_by_its_header_is_not_asked_for(url: str) -> None:
    expects = "Expect: 100-continue"
    with connect(url) as connection:
        connection.sendall(head(expects, "Content-Type: application/json"))
        assert connection.recv(12) == b"HTTP/1.1 415"
    with connect(url) as connection:
        connection.sendall(head(expects, "Content-Encoding: br"))
        assert connection.recv(12) == b"HTTP/1.1 415"
    with connect(url) as connection:
        connection.sendall(head(expects))
        assert receive_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        connection.sendall(TILE)
        assert answer_of(connection)[0] == 200


def test_head_has_no_body_on_the_connection(url: str) -> None:
    paths = ("/livez/", "/readyz", "/metrics", "/v1/models", "/docs", "/openapi.json", "/", "/no")
    with connect(url) as connection:
        lines = [f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in (*paths, "/v1/classify")]
        connection.sendall("".join(lines).encode())
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        *heads, rest = receive_all(connection).split(b"\r\n\r\n")
    statuses = [200] * 7 + [404, 405, 200]
    assert [int(answer.split()[1]) for answer in heads] == statuses
    assert all(b"content-length: " in answer.lower() for answer in heads)
    assert rest == b'{"status":"live"}'


def test_streamed_bodies_are_read_at_both_spellings(url: str) -> None:
    def stream(data: bytes) -> Iterator[bytes]:
        yield from (data[start : start + 97] for start in range(0, len(data), 97))

    for path in ("/v1/classify", "/v1/classify/"):
        plain = httpx2.post(url + path, content=stream(TILE))
        packed = httpx2.post(
            url + path, content=stream(gzip.compress(TILE)), headers={"Content-Encoding": "gzip"}
        )
        assert plain.json()["tile"] == packed.json()["tile"]
        assert plain.json()["prediction"] == "non_viable_tumor"
