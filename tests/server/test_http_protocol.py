from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from app.server import http_protocol
from tests.servers import serving

LARGE = bytes(24 * 1024**2)  # more than the system's own buffers hold
ASK_LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
SERVED = b"GET /served HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without reading the body, but for `/echo`; `/slow` takes its time."""
    if scope["type"] == "http":
        body = LARGE if scope["path"] == "/large" else b"ok"
        if scope["path"] == "/slow":
            await asyncio.sleep(0.6)
        if scope["path"] == "/echo":
            sent, is_more = b"", True
            while is_more:
                message = await receive()
                sent, is_more = sent + message["body"], message["more_body"]
            body = sent + body
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A real uvicorn on a port of its own."""
    with serving(answer, keep_alive_s=1) as address:
        yield address


def ask(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    answer = b""
    while not answer.endswith(b"ok"):
        received = connection.recv(4096)
        assert received, "the connection was closed"
        answer += received
    return answer.splitlines()[0]


def is_closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_a_body_that_is_thrown_away_has_to_end(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "DISCARD_TIMEOUT_S", 0.3)
    with socket.create_connection(address, timeout=10) as slow:
        ask(slow, b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        started = time.monotonic()
        while not is_closed_within(slow, 0.05):
            assert time.monotonic() - started < 5
            slow.sendall(b"x")


def test_a_connection_is_idle_once_its_body_was_thrown_away(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "DISCARD_TIMEOUT_S", 0.3)
    with socket.create_connection(address, timeout=10) as idle:
        ask(idle, b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
        idle.sendall(b"body")
        assert not is_closed_within(idle, 0.6), "the body has ended in time"
        idle.settimeout(10)
        assert b"200" in ask(idle, SERVED)
        ask(idle, b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
        idle.sendall(b"body")
        assert is_closed_within(idle, 5), "nothing came for a second"


@pytest.mark.parametrize("endless", [b"a: b\r\n", b"c"], ids=["trailers", "trailer"])
def test_trailers_without_end_are_cut_off(address: tuple[str, int], endless: bytes) -> None:
    n_sent = 0
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(
            b"POST /ok HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: "
        )
        with suppress(OSError):
            while n_sent < 64 * 1024**2:
                n_sent += connection.send(endless * (65_536 // len(endless)))
    assert n_sent < 16 * 1024**2


def test_a_body_in_pieces_of_one_byte_is_a_body(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as connection:
        ask(connection, b"POST /ok HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"1\r\nx\r\n" * 100_000 + b"0\r\nx: y\r\n\r\n")
        assert b"200" in ask(connection, SERVED)


def test_a_url_that_is_too_long_is_refused(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 40_000))
        assert connection.recv(4096).startswith(b"HTTP/1.1 431 ")


def test_a_stray_line_break_does_not_keep_a_connection_open(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_connection(address, timeout=10) as idle:
        ask(idle, SERVED)
        monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.3)
        idle.sendall(b"\r\n")
        assert is_closed_within(idle, 5)


def test_line_breaks_without_end_are_cut_off(address: tuple[str, int]) -> None:
    n_sent = 0
    with socket.create_connection(address, timeout=10) as connection, suppress(OSError):
        while n_sent < 64 * 1024**2:
            n_sent += connection.send(b"\r\n" * 32_768)
    assert n_sent < 16 * 1024**2


def test_requests_sent_far_ahead_are_cut_off(address: tuple[str, int]) -> None:
    slow = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(slow * (http_protocol.MAX_PIPELINED + 2))
        assert is_closed_within(connection, 5)


def test_a_head_that_is_half_read_starts_no_other_clock(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "DISCARD_TIMEOUT_S", 0.2)
    echo = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + echo[:20])
        assert b"200" in ask(connection, b"")
        connection.sendall(echo[20:])
        assert not is_closed_within(connection, 0.5)
        connection.settimeout(10)
        assert b"200" in ask(connection, b"body")


@pytest.mark.parametrize("rest", [b"X: " + b"y" * 40_000 + b"\r\n\r\n", b"X: "])
def test_what_is_wrong_with_a_head_does_not_reach_the_answer_before(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.2)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(SERVED.replace(b"served", b"slow") + b"GET / HTTP/1.1\r\n" + rest)
        received = b""
        with suppress(OSError):
            while piece := connection.recv(4096):
                received += piece
        assert b"431" not in received
        if len(rest) < 100:
            assert received.endswith(b"ok"), "a slow head waits for the answer before it"


def test_a_long_head_in_pieces_is_a_head(address: tuple[str, int]) -> None:
    # What separates names and values counts while a head is incomplete, and not once it is.
    n_headers = http_protocol.MAX_HEAD_BYTES // 6 + 100
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n" + b"X: y\r\n" * n_headers
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(head[:100])
        time.sleep(0.1)
        connection.sendall(head[100:] + b"\r\n")
        time.sleep(0.1)
        assert b"200" in ask(connection, b"body")


REQUESTS = (
    (SERVED, b"ok"),
    (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", b"bodyok"),
    (b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", b"ok"),
    (
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"4\r\nbody\r\n0\r\nx: y\r\n\r\n",
        b"bodyok",
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=6), st.data())
def test_however_requests_are_cut_each_is_answered_in_turn(
    address: tuple[str, int], requests: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(request for request, _ in requests)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=6)))
    with socket.create_connection(address, timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in itertools.pairwise([0, *cuts, len(stream)]):
            connection.sendall(stream[start:end])
            time.sleep(0.001)  # a read of its own, mostly
        received = b""
        while received.count(b"HTTP/1.1 200 ") < len(requests) or not received.endswith(b"ok"):
            piece = connection.recv(65_536)
            assert piece, received
            received += piece
    answers = received.split(b"HTTP/1.1 200 ")[1:]
    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers] == [a for _, a in requests]


H2C_OFFER = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
)


@pytest.mark.parametrize(
    ("framing", "body"),
    [(b"Content-Length: 4", b"body"), (b"Transfer-Encoding: chunked", b"4\r\nbody\r\n0\r\n\r\n")],
)
@pytest.mark.parametrize("offer", [H2C_OFFER, H2C_OFFER.upper(), H2C_OFFER.lower()])
@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_an_offer_of_http_2_does_not_lose_the_body(
    address: tuple[str, int], framing: bytes, body: bytes, offer: bytes, pause_s: float
) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\n%b%b\r\n\r\n" % (offer, framing)
    with socket.create_connection(address, timeout=10) as connection:
        for _ in range(2):
            if pause_s:
                connection.sendall(head)
                time.sleep(pause_s)
                connection.sendall(body)
            else:
                connection.sendall(head + body)
            answer = b""
            while not answer.endswith(b"bodyok"):
                received = connection.recv(4096)
                assert received, answer
                answer += received


def test_an_offer_in_pieces_is_refused_and_not_misread(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n")
        time.sleep(0.1)
        connection.sendall(H2C_OFFER + b"\r\nbody")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert is_closed_within(connection, 5)
    assert "WebSocket" not in caplog.text


def take_all(connection: socket.socket, pause_s: float = 0.0) -> int:
    n_bytes = 0
    while n_bytes < len(LARGE) and (piece := connection.recv(4 * 1024**2)):
        n_bytes += len(piece)
        time.sleep(pause_s)
    return n_bytes


def test_a_client_that_does_not_take_its_answer_is_cut_off(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "STALL_CHECK_S", 0.1)
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
    monkeypatch.setattr(http_protocol, "STALL_CHECK_S", 0.2)
    with socket.create_connection(address, timeout=10) as slow:
        slow.sendall(ASK_LARGE)
        assert take_all(slow, pause_s=0.05) >= len(LARGE)
