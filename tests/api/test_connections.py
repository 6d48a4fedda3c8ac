from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from app.api import connections
from app.api.connections import GuardedProtocol

REFUSED = b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000)
SERVED = b"GET /served HTTP/1.1\r\nHost: x\r\n\r\n"


async def refuse_or_serve(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers as the service does, without reading the body."""
    status = 429 if scope["path"] == "/refused" else 200
    if status == 429:
        scope["state"]["problem"] = "queue-full"
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """A real uvicorn on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(refuse_or_serve, http=GuardedProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join()


def ask(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    answer = b""
    while not answer.endswith(b"ok"):
        answer += connection.recv(4096)
    return answer.splitlines()[0]


def test_a_refused_connection_is_not_read_for_a_while(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REFUSED_PAUSE_S", 1.0)
    with socket.create_connection(address, timeout=10) as hasty:
        assert b"429" in ask(hasty, REFUSED)
        asked_again = time.monotonic()
        hasty.sendall(SERVED)
        with socket.create_connection(address, timeout=10) as other:
            for _ in range(3):
                assert b"200" in ask(other, SERVED)
        assert b"200" in hasty.recv(4096)
        assert time.monotonic() - asked_again > 0.4


def test_refusals_one_after_the_other_all_arrive(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REFUSED_PAUSE_S", 0.01)
    with socket.create_connection(address, timeout=10) as hasty:
        # Two at once, as a client sends them that does not wait for answers.
        hasty.sendall(REFUSED + REFUSED)
        answers = b""
        while answers.count(b"ok") < 2:
            answers += hasty.recv(4096)
        for _ in range(20):
            assert b"429" in ask(hasty, REFUSED)


def test_a_refused_client_may_leave_while_it_is_not_read(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REFUSED_PAUSE_S", 0.05)
    for _ in range(5):
        with socket.create_connection(address, timeout=10) as hasty:
            assert b"429" in ask(hasty, REFUSED)
    time.sleep(0.1)
    with socket.create_connection(address, timeout=10) as other:
        assert b"200" in ask(other, SERVED)
