from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields

import pytest

from app.server.connection_limits import NO_LIMITS, ConnectionLimits
from app.server.run import UnlimitedTileProtocol
from tests.conftest import REPOSITORY
from tests.server.connections import (
    GET,
    GET_LARGE,
    GET_SLOW,
    LARGE,
    ask,
    is_closed_within,
    limit,
    plain_app,
    receive_until,
    take_all,
)
from tests.servers import serving

LIMITS = ConnectionLimits()
POST_DISCARDED = b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


def test_connection_is_closed_when_no_request_arrives(
    plain_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, head_timeout_s=0.2)
    with socket.create_connection(plain_address, timeout=10) as silent:
        assert is_closed_within(silent, 5)


def test_connection_is_closed_when_headers_arrive_too_slowly(
    plain_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, head_timeout_s=0.3)
    with socket.create_connection(plain_address, timeout=10) as slow:
        assert b"200" in ask(slow, GET)
        started = time.monotonic()
        slow.sendall(b"GET /served HTTP/1.1\r\n")
        while not is_closed_within(slow, 0.05):
            assert time.monotonic() - started < 5
            slow.sendall(b"x")


def test_discarded_body_must_end_in_time(
    plain_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, discard_timeout_s=0.3)
    with socket.create_connection(plain_address, timeout=10) as slow:
        ask(slow, POST_DISCARDED.replace(b"4", b"1000"))
        started = time.monotonic()
        while not is_closed_within(slow, 0.05):
            assert time.monotonic() - started < 5
            slow.sendall(b"x")


def test_connection_is_idle_after_a_discarded_body(
    plain_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, discard_timeout_s=0.3)
    with socket.create_connection(plain_address, timeout=10) as idle:
        ask(idle, POST_DISCARDED)
        idle.sendall(b"body")
        assert not is_closed_within(idle, 0.6), "the body ended in time"
        idle.settimeout(10)
        assert b"200" in ask(idle, GET)
        ask(idle, POST_DISCARDED)
        idle.sendall(b"body")
        assert is_closed_within(idle, 5), "nothing was sent for a second"


@pytest.mark.parametrize("endless", [b"a: b\r\n", b"c"], ids=["trailers", "trailer"])
def test_endless_trailers_close_the_connection(
    plain_address: tuple[str, int], endless: bytes
) -> None:
    n_sent = 0
    with socket.create_connection(plain_address, timeout=10) as connection:
        connection.sendall(
            b"POST /ok HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: "
        )
        with suppress(OSError):
            while n_sent < 64 * 1024**2:
                n_sent += connection.send(endless * (65_536 // len(endless)))
    assert n_sent < 16 * 1024**2


def test_body_in_chunks_of_one_byte_is_accepted(plain_address: tuple[str, int]) -> None:
    with socket.create_connection(plain_address, timeout=10) as connection:
        ask(connection, b"POST /ok HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"1\r\nx\r\n" * 100_000 + b"0\r\nx: y\r\n\r\n")
        assert b"200" in ask(connection, GET)


def test_long_url_is_rejected(plain_address: tuple[str, int]) -> None:
    with socket.create_connection(plain_address, timeout=10) as connection:
        connection.sendall(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 40_000))
        assert connection.recv(4096).startswith(b"HTTP/1.1 431 ")


def test_blank_line_does_not_keep_a_connection_open(
    plain_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_connection(plain_address, timeout=10) as idle:
        ask(idle, GET)
        limit(monkeypatch, head_timeout_s=0.3)
        idle.sendall(b"\r\n")
        assert is_closed_within(idle, 5)


def test_endless_blank_lines_close_the_connection(plain_address: tuple[str, int]) -> None:
    n_sent = 0
    with socket.create_connection(plain_address, timeout=10) as connection, suppress(OSError):
        while n_sent < 64 * 1024**2:
            n_sent += connection.send(b"\r\n" * 32_768)
    assert n_sent < 16 * 1024**2


def test_many_pipelined_requests_close_the_connection(plain_address: tuple[str, int]) -> None:
    with socket.create_connection(plain_address, timeout=10) as connection:
        connection.sendall(GET_SLOW * (int(LIMITS.max_pipelined) + 2))
        assert is_closed_within(connection, 5)


def test_client_that_does_not_take_its_answer_is_disconnected(
    plain_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, stall_check_s=0.1)
    with socket.create_connection(plain_address, timeout=10) as stalled:
        stalled.sendall(GET_LARGE)
        time.sleep(0.5)
        try:
            n_bytes = take_all(stalled)
        except ConnectionResetError:
            n_bytes = 0
        assert n_bytes < len(LARGE)


def test_client_that_takes_its_answer_slowly_gets_all_of_it(
    plain_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, stall_check_s=0.2)
    with socket.create_connection(plain_address, timeout=10) as slow:
        slow.sendall(GET_LARGE)
        assert take_all(slow, pause_s=0.05) >= len(LARGE)


@pytest.fixture
def unlimited_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server without limits, in a process where limits would stop every test below."""
    limit(
        monkeypatch, max_head_bytes=100, head_timeout_s=0.05, max_pipelined=1,
        max_discarded_bytes=1, discard_timeout_s=0.05, stall_check_s=0.1,
    )  # fmt: skip
    with serving(plain_app, protocol=UnlimitedTileProtocol) as address:
        yield address


def test_every_limit_is_off_when_limits_are_off() -> None:
    assert all(getattr(NO_LIMITS, field.name) == math.inf for field in fields(NO_LIMITS))


def test_slow_and_large_requests_are_answered_when_limits_are_off(
    unlimited_address: tuple[str, int],
) -> None:
    with socket.create_connection(unlimited_address, timeout=10) as connection:
        time.sleep(0.15)
        long_head = GET[:-2] + b"X-Filler: " + b"y" * 300_000 + b"\r\n\r\n"
        connection.sendall(long_head[:1000])
        time.sleep(0.15)
        assert b"200" in ask(connection, long_head[1000:])
        ask(connection, POST_DISCARDED)
        time.sleep(0.15)
        assert b"200" in ask(connection, b"body" + GET)
        n_ahead = int(LIMITS.max_pipelined) + 10
        connection.sendall(GET_SLOW + GET * n_ahead)
        received = b""
        while received.count(b"HTTP/1.1 200") < 1 + n_ahead:
            received += receive_until(connection, b"ok")


def test_client_may_take_its_answer_late_when_limits_are_off(
    unlimited_address: tuple[str, int],
) -> None:
    with socket.create_connection(unlimited_address, timeout=10) as stalled:
        stalled.sendall(GET_LARGE)
        time.sleep(0.5)
        assert take_all(stalled) >= len(LARGE)


@pytest.mark.parametrize("name", [field.name for field in fields(ConnectionLimits)])
def test_every_limit_is_documented_with_its_value(name: str) -> None:
    page = (REPOSITORY / "docs" / "ingress.md").read_text()
    row = re.search(rf"^\| `{name}` \| ([\d ]+)", page, re.M)
    assert row, f"docs/ingress.md has no row for {name}"
    assert float(row[1].replace(" ", "")) == getattr(LIMITS, name)
