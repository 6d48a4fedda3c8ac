"""After a rejection because of load a connection is not read for a while."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

from app.api.request_context import request_context
from app.server import tile_protocol
from tests.servers import serving

REJECTED = b"POST /rejected HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000)
ACCEPTED = b"GET /accepted HTTP/1.1\r\nHost: x\r\n\r\n"


async def reject_or_accept(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers like the service, without reading the body."""
    if scope["type"] != "http":
        return
    status = 429 if scope["path"] == "/rejected" else 200
    if status == 429:
        request_context(scope).problem_code = "queue-full"
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def rejecting() -> Iterator[tuple[str, int]]:
    with serving(reject_or_accept) as address:
        yield address


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=60)


def receive(connection: socket.socket) -> bytes:
    received = connection.recv(65_536)
    assert received, "the connection was closed"
    return received


def status_line(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    answer = b""
    while not answer.endswith(b"ok"):
        answer += receive(connection)
    return answer.splitlines()[0]


def test_rejected_connection_is_not_read_during_the_pause(
    rejecting: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_protocol, "REFUSED_PAUSE_S", 0.8)
    monkeypatch.setattr("random.uniform", lambda *_: 1.0)
    with connect(rejecting) as hasty:
        assert b"429" in status_line(hasty, REJECTED)
        rejected = time.monotonic()
        time.sleep(0.1)  # what arrives with the end of a rejected body is read with it
        hasty.sendall(ACCEPTED)
        with connect(rejecting) as other:
            for _ in range(3):
                assert b"200" in status_line(other, ACCEPTED)
        assert b"200" in hasty.recv(4096)
        assert time.monotonic() - rejected > 0.7


def test_consecutive_rejections_all_arrive(
    rejecting: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_protocol, "REFUSED_PAUSE_S", 0.01)
    with connect(rejecting) as hasty:
        hasty.sendall(REJECTED + REJECTED)  # a client that does not wait for the first answer
        answers = b""
        while answers.count(b"ok") < 2:
            answers += receive(hasty)
        for _ in range(20):
            assert b"429" in status_line(hasty, REJECTED)


def test_client_may_disconnect_during_the_pause(
    rejecting: tuple[str, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tile_protocol, "REFUSED_PAUSE_S", 0.05)
    for _ in range(5):
        with connect(rejecting) as hasty:
            assert b"429" in status_line(hasty, REJECTED)
    time.sleep(0.1)
    with connect(rejecting) as other:
        assert b"200" in status_line(other, ACCEPTED)
    assert [line.message for line in caplog.records if line.levelno >= logging.ERROR] == []
