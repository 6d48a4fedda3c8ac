from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

from app.api import connections
from tests.servers import serving

REFUSED = b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000)
LARGE = bytes(24 * 1024**2)  # more than the system's own buffers hold
ASK_LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
SERVED = b"GET /served HTTP/1.1\r\nHost: x\r\n\r\n"


async def refuse_or_serve(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers as the service does, without reading the body."""
    status = 429 if scope["path"] == "/refused" else 200
    if status == 429:
        scope["state"]["problem"] = "queue-full"
    body = LARGE if scope["path"] == "/large" else b"ok"
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """A real uvicorn on a port of its own."""
    with serving(refuse_or_serve) as address:
        yield address


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
        time.sleep(0.1)  # what comes with the last of a refused body is read with it
        asked_again = time.monotonic()
        hasty.sendall(SERVED)
        with socket.create_connection(address, timeout=10) as other:
            for _ in range(3):
                assert b"200" in ask(other, SERVED)
        assert b"200" in hasty.recv(4096)
        assert time.monotonic() - asked_again > 0.3


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


def take_all(connection: socket.socket, pause_s: float = 0.0) -> int:
    n_bytes = 0
    while n_bytes < len(LARGE) and (piece := connection.recv(4 * 1024**2)):
        n_bytes += len(piece)
        time.sleep(pause_s)
    return n_bytes


def test_a_client_that_does_not_take_its_answer_is_cut_off(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALL_CHECK_S", 0.1)
    with socket.create_connection(address, timeout=10) as stalled:
        stalled.sendall(ASK_LARGE)
        time.sleep(0.5)
        try:
            n_bytes = take_all(stalled)
        except ConnectionResetError:
            n_bytes = 0
        assert n_bytes < len(LARGE)


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALL_CHECK_S", 0.2)
    with socket.create_connection(address, timeout=10) as slow:
        slow.sendall(ASK_LARGE)
        assert take_all(slow, pause_s=0.05) >= len(LARGE)
