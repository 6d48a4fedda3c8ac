"""Load shedding and the pause after it, over TLS."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.main import create_app
from app.server import tile_protocol
from app.server.tls import TlsFiles
from app.server.tls_renewal import RenewedTls
from app.serving.service import TileService
from app.settings import Settings
from tests.authorities import Authority
from tests.bundles import FakeRuntime, opener_of, plain_tile
from tests.queues import occupy
from tests.servers import serving, wait_until

TILE = plain_tile((200, 120, 160), 1024)
LIMIT_TILES = 2


@pytest.fixture
def app(models_dir: Path, runtime: FakeRuntime) -> FastAPI:
    settings = Settings(
        models_dir=models_dir, max_tiles_in_flight=LIMIT_TILES, max_request_tiles=LIMIT_TILES
    )
    return create_app(settings, opener_of(runtime))


@pytest.fixture
def connection(
    app: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[http.client.HTTPSConnection]:
    monkeypatch.setattr(tile_protocol, "REFUSED_PAUSE_S", 0.05)
    authority = Authority(tmp_path, "authority")
    server = authority.issue("server")
    tls = RenewedTls(TlsFiles(server.certificate, server.key), lambda _: None)
    service: TileService = app.state.service
    with serving(app, tls=tls.context) as (host, port):
        wait_until(lambda: service.unready_reason is None)
        with closing(
            http.client.HTTPSConnection(host, port, timeout=60, context=authority.trust())
        ) as connection:
            yield connection


def post(connection: http.client.HTTPSConnection) -> tuple[int, dict[str, object]]:
    connection.request("POST", "/v1/classify", TILE)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_rejected_client_can_try_again_on_its_connection(
    app: FastAPI, connection: http.client.HTTPSConnection
) -> None:
    connection.connect()
    first = connection.sock
    assert isinstance(first, ssl.SSLSocket)
    with occupy(app.state.service, LIMIT_TILES):
        for _ in range(3):
            status, problem = post(connection)
            assert (status, problem["type"]) == (429, "/problems/queue-full")
    assert post(connection)[0] == 200
    assert connection.sock is first
