from __future__ import annotations

import itertools
import socket
import threading
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.server import http_protocol
from app.server.connection_limits import ConnectionLimits
from tests.server.connections import (
    GET,
    GET_SLOW,
    ask,
    is_closed_within,
    limit,
    plain_app,
    receive_until,
)
from tests.servers import serving

POST_ECHO = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


def test_half_a_head_does_not_start_the_timer_of_a_discarded_body(
    plain_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, discard_timeout_s=0.2)
    with socket.create_connection(plain_address, timeout=10) as connection:
        connection.sendall(GET_SLOW + POST_ECHO[:20])
        assert b"200" in ask(connection, b"")
        connection.sendall(POST_ECHO[20:])
        assert not is_closed_within(connection, 0.5)
        connection.settimeout(10)
        assert b"200" in ask(connection, b"body")


@pytest.mark.parametrize("rest", [b"X: " + b"y" * 40_000 + b"\r\n\r\n", b"X: "])
def test_rejected_head_does_not_answer_the_request_before_it(
    plain_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    limit(monkeypatch, head_timeout_s=0.2)
    with socket.create_connection(plain_address, timeout=10) as connection:
        connection.sendall(GET_SLOW + b"GET / HTTP/1.1\r\n" + rest)
        received = b""
        with suppress(OSError):
            while piece := connection.recv(4096):
                received += piece
        assert b"431" not in received
        if len(rest) < 100:
            assert received.endswith(b"ok"), "a slow head waits for the answer before it"


def test_long_head_in_pieces_is_accepted(plain_address: tuple[str, int]) -> None:
    # The separators count only while the head is incomplete.
    n_headers = int(ConnectionLimits().max_head_bytes) // 6 + 100
    head = POST_ECHO[:-2] + b"X: y\r\n" * n_headers
    with socket.create_connection(plain_address, timeout=10) as connection:
        connection.sendall(head[:100])
        time.sleep(0.1)
        connection.sendall(head[100:] + b"\r\n")
        time.sleep(0.1)
        assert b"200" in ask(connection, b"body")


REQUESTS = (
    (GET, b"ok"),
    (POST_ECHO + b"body", b"bodyok"),
    (POST_ECHO.replace(b"echo", b"ok") + b"body", b"ok"),
    (
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"4\r\nbody\r\n0\r\nx: y\r\n\r\n",
        b"bodyok",
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=6), st.data())
def test_requests_are_answered_in_order_however_they_are_cut(
    plain_address: tuple[str, int], requests: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(request for request, _ in requests)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=6)))
    with socket.create_connection(plain_address, timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in itertools.pairwise([0, *cuts, len(stream)]):
            connection.sendall(stream[start:end])
            time.sleep(0.001)  # so that the server mostly reads each piece by itself
        received = b""
        while received.count(b"HTTP/1.1 200 ") < len(requests):
            received += receive_until(connection, b"ok")
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
def test_body_arrives_when_the_client_offers_http_2(
    plain_address: tuple[str, int], framing: bytes, body: bytes, offer: bytes, pause_s: float
) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\n%b%b\r\n\r\n" % (offer, framing)
    with socket.create_connection(plain_address, timeout=10) as connection:
        for _ in range(2):
            if pause_s:
                connection.sendall(head)
                time.sleep(pause_s)
                connection.sendall(body)
            else:
                connection.sendall(head + body)
            receive_until(connection, b"bodyok")


def test_offer_of_http_2_in_pieces_is_rejected(
    plain_address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(plain_address, timeout=10) as connection:
        connection.sendall(POST_ECHO[:-2])
        time.sleep(0.1)
        connection.sendall(H2C_OFFER + b"\r\nbody")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert is_closed_within(connection, 5)
    assert "WebSocket" not in caplog.text


def test_request_on_its_way_to_an_idle_connection_is_answered_during_shutdown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_protocol, "SHUTDOWN_GRACE_S", 20.0)
    statuses: list[bytes] = []

    def ask_later(connection: socket.socket) -> None:
        time.sleep(0.5)
        with connection:
            statuses.append(ask(connection, GET))

    with serving(plain_app, shutdown_timeout_s=30) as address:
        idle = socket.create_connection(address, timeout=10)
        ask(idle, GET)
        client = threading.Thread(target=ask_later, args=[idle])
        client.start()
    client.join()
    assert [b"200" in status for status in statuses] == [True]


def test_shutdown_closes_idle_connections() -> None:
    with serving(plain_app, shutdown_timeout_s=30) as address:
        idle = socket.create_connection(address, timeout=10)
        ask(idle, GET)
    with idle:
        assert is_closed_within(idle, 5)
