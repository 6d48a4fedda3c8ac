"""What follows a valid request, or does not, never costs its client the answer."""

from __future__ import annotations

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.types import Receive, Scope, Send

from app.server import http_protocol
from tests.server.connections import GET, GET_SLOW, receive_all, statuses
from tests.servers import serving

POST_ECHO = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
POST_CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
GARBAGE = {
    "words": b"garbage\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303"),
    "NULs": bytes(100),
    "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "long head": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
    "endless head": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 600_000,
    "tunnel": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
}


def answers_to(address: tuple[str, int], *pieces: bytes, half_close: bool = False) -> bytes:
    """Send pieces with pauses between them; returns everything that is received."""
    with socket.create_connection(address, timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.1)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return receive_all(connection)


@pytest.mark.parametrize(
    ("n_valid", "is_apart"), [(1, True), (3, False)], ids=["one, apart", "three, together"]
)
def test_garbage_does_not_replace_the_answers_before_it(
    plain_address: tuple[str, int], n_valid: int, is_apart: bool
) -> None:
    valid = GET_SLOW + GET * (n_valid - 1)

    def send(garbage: bytes) -> bytes:
        return answers_to(plain_address, *((valid, garbage) if is_apart else (valid + garbage,)))

    with ThreadPoolExecutor(len(GARBAGE)) as pool:
        for name, received in zip(GARBAGE, pool.map(send, GARBAGE.values()), strict=True):
            assert statuses(received) == [200] * n_valid, name
            assert received.endswith(b"ok"), name
            assert b"connection: close" in received, name


def test_bytes_behind_garbage_are_ignored(plain_address: tuple[str, int]) -> None:
    received = answers_to(
        plain_address, GET_SLOW, b"garbage\r\n\r\n", GET, b"more", half_close=True
    )
    assert statuses(received) == [200]


def test_garbage_alone_is_refused(plain_address: tuple[str, int]) -> None:
    assert statuses(answers_to(plain_address, b"garbage\r\n\r\n")) == [400]


@pytest.mark.parametrize("before", [b"", GET_SLOW, GET_SLOW + GET], ids=[0, 1, 2])
def test_damaged_body_is_refused_after_the_answers_before_it(
    plain_address: tuple[str, int], before: bytes
) -> None:
    received = answers_to(plain_address, before + POST_CHUNKED + b"4\r\nbody\r\nno length\r\n")
    assert statuses(received) == [200] * before.count(b"GET") + [400]
    assert b"connection: close" in received


def test_damage_in_a_body_that_was_answered_closes_the_connection(
    plain_address: tuple[str, int],
) -> None:
    rejected = POST_CHUNKED.replace(b"echo", b"ok")
    received = answers_to(plain_address, rejected, b"no length\r\n")
    assert statuses(received) == [200], "a second answer would be taken for that of a later request"


@pytest.mark.parametrize(
    "request_",
    [GET, GET_SLOW, POST_ECHO, POST_CHUNKED + b"4\r\nbody\r\n0\r\n\r\n", GET_SLOW + GET * 2],
    ids=["quick", "slow", "body", "chunked", "pipelined"],
)
def test_client_that_closes_its_side_gets_its_answers(
    plain_address: tuple[str, int], request_: bytes
) -> None:
    received = answers_to(plain_address, request_, half_close=True)
    n_requests = request_.count(b"HTTP/1.1")
    assert statuses(received) == [200] * n_requests
    assert received.endswith(b"ok")


def test_client_that_closes_its_side_after_garbage_gets_its_answer(
    plain_address: tuple[str, int],
) -> None:
    assert statuses(answers_to(plain_address, GET_SLOW + b"garbage", half_close=True)) == [200]


@pytest.mark.parametrize("rest", [b"", b"GET / HTTP/1.1\r\n"], ids=["nothing", "half a head"])
def test_client_that_closes_its_side_before_its_request_ends_is_disconnected(
    plain_address: tuple[str, int], rest: bytes
) -> None:
    assert answers_to(plain_address, rest, half_close=True) == b""
    assert answers_to(plain_address, POST_ECHO[:-1], half_close=True) == b""


def test_client_that_closes_late_has_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HALF_CLOSE_S", 0.05)
    messages: list[str] = []

    async def wait_for_disconnect(scope: Scope, receive: Receive, _send: Send) -> None:
        while scope["type"] == "http" and "http.disconnect" not in messages:
            messages.append((await receive())["type"])
        await asyncio.sleep(0)

    with serving(wait_for_disconnect) as address:
        assert answers_to(address, GET, half_close=True) == b""
    assert messages[-1] == "http.disconnect"
