"""Hostile requests against a real service: each is answered or ended, and others are served."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPResponse

import pytest

from app.runtime.cores import usable_cores
from tests.bundles import plain_tile
from tests.conftest import RELEASED_MODELS
from tests.server.connections import receive_all, statuses
from tests.servers import RunningServer, running_server, wait_until
from training.data.drawn_tiles import draw_tile, encode_tile

pytestmark = pytest.mark.attack

TILE = plain_tile((200, 120, 170), 256, "JPEG")
TOKEN = "a-long-secret-of-tests"
GRACE_S = 1.0
MEBIBYTE = 1024**2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A service with a small upload budget and a token; one for all attacks."""
    with running_server(
        tmp_path_factory.mktemp("attacked"),
        OSTEO_MODELS_DIR=str(RELEASED_MODELS),
        OSTEO_ADMIN_TOKEN=TOKEN,
        OSTEO_WORKERS=str(usable_cores() + 1),  # as without a setting
        OSTEO_MAX_UPLOAD_BYTES=str(8 * MEBIBYTE),
        OSTEO_UPLOAD_GRACE_S=str(GRACE_S),
    ) as server:
        server.wait_until_ready()
        yield server


def upload(length: int | str, *headers: str, path: str = "/v1/classify") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode()


def answer_to(server: RunningServer, request: bytes, *, half_close: bool = False) -> bytes:
    with server.connect() as connection:
        connection.sendall(request)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return receive_all(connection)


def is_healthy(server: RunningServer) -> bool:
    answer = server.client.post(f"{server.url}/v1/classify", content=TILE)
    return answer.status_code == 200


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/classify/batch", "/v1/explain"])
@pytest.mark.parametrize(
    "length", ["0" * 5000 + "5", "9" * 5001, "0" * 4300 + "5", "1" + "0" * 20, "5" * 19]
)
def test_absurd_content_length_is_refused_and_keeps_its_promise(
    server: RunningServer, path: str, length: str
) -> None:
    with server.connect() as connection:
        form = "Content-Type: multipart/form-data; boundary=b"
        connection.sendall(upload(length, form, path=path) + b"bytes")
        response = HTTPResponse(connection, method="POST")
        response.begin()
        response.read()
        assert response.status in {400, 413}
        if response.headers["Connection"] == "close":
            assert receive_all(connection) == b""
        elif int(length[-4000:]) == 5:  # its body has arrived, so the next request is served
            connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            assert statuses(receive_all(connection)) == [200]
    assert is_healthy(server)


@pytest.mark.parametrize(
    "garbage", [b"garbage\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\x16\x03\x01"]
)
def test_tile_is_answered_whatever_follows_it(server: RunningServer, garbage: bytes) -> None:
    received = answer_to(server, upload(len(TILE)) + TILE + garbage, half_close=len(garbage) == 3)
    assert statuses(received) == [200]
    assert b'"probabilities"' in received


def test_tile_is_answered_when_its_client_closes_its_side(server: RunningServer) -> None:
    received = answer_to(server, upload(len(TILE)) + TILE, half_close=True)
    assert statuses(received) == [200]
    assert b'"probabilities"' in received


def test_stalled_uploads_return_their_bytes(server: RunningServer) -> None:
    stalled_at = time.monotonic()
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(16)]
        for connection in connections:
            connection.sendall(upload(4 * MEBIBYTE) + bytes(MEBIBYTE // 2 - 1000))
        wait_until(lambda: server.metric("osteo_upload_bytes") > 7 * MEBIBYTE)
        answer = server.client.post(f"{server.url}/v1/classify", content=bytes(MEBIBYTE))
        assert answer.status_code == 429
        received = [receive_all(connection) for connection in connections]
    assert [statuses(answer) for answer in received] == [[408]] * 16
    assert b'"min_bytes_per_s":16384' in received[0]
    assert time.monotonic() - stalled_at < 20, "long before the 30 s that a body may take"
    assert server.metric("osteo_upload_bytes") == 0
    assert is_healthy(server)


def test_dripping_upload_is_ended(server: RunningServer) -> None:
    with server.connect() as connection:
        connection.sendall(upload(MEBIBYTE))
        connection.settimeout(0.05)
        received, started = b"", time.monotonic()
        while not received and time.monotonic() - started < 20:
            connection.sendall(b"x" * 100)  # 2 kB/s
            try:
                received = connection.recv(4096)
            except TimeoutError:
                continue
    assert statuses(received) == [408]


def test_upload_at_2_mbit_per_second_is_classified(server: RunningServer) -> None:
    tile = encode_tile(draw_tile("viable_tumor", 1536, 0))
    assert len(tile) / 250_000 > 2 * GRACE_S
    with server.connect() as connection:
        connection.sendall(upload(len(tile), "Connection: close"))
        for start in range(0, len(tile), 25_000):
            connection.sendall(tile[start : start + 25_000])
            time.sleep(0.1)
        assert statuses(receive_all(connection)) == [200]


def test_guesses_of_the_token_wait_and_nobody_else_does(server: RunningServer) -> None:
    url = f"{server.url}/v1/models/rollback"

    def guess(number: int) -> tuple[int, float]:
        started = time.monotonic()
        with server.connect() as connection:
            head = f"POST /v1/models/rollback HTTP/1.0\r\nAuthorization: Bearer guess{number}\r\n"
            connection.sendall(f"{head}\r\n".encode())
            connection.settimeout(60)
            (status,) = statuses(receive_all(connection))
        return status, time.monotonic() - started

    with ThreadPoolExecutor(16) as pool:
        guesses = [pool.submit(guess, number) for number in range(16)]
        wait_until(lambda: server.metric('osteo_access_refusals_total{reason="unknown"}') == 16)
        right = server.client.post(url, headers={"Authorization": f"Bearer {TOKEN}"})
        assert right.status_code == 404, "the token is right, but there is no previous version"
        assert is_healthy(server)
        assert not all(waiting.done() for waiting in guesses)
        answers = [waiting.result() for waiting in guesses]
    assert {status for status, _ in answers} == {401}
    assert sum(waited_s > 4 for _, waited_s in answers) >= 5, "the first five are answered at once"
