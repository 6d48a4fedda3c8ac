"""The limits of `test_connection_limits` and the attacks on handshakes, over TLS."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from app.server import http_protocol, tls
from app.server.tls import TlsFiles
from app.server.tls_renewal import RenewedTls
from tests.authorities import Authority
from tests.server.connections import (
    GET,
    GET_LARGE,
    GET_SLOW,
    LARGE,
    ask,
    is_closed_within,
    limit,
    plain_app,
    receive_all,
    statuses,
)
from tests.servers import Loop, serving

Connect = Callable[[], ssl.SSLSocket]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "hospital")


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    server = authority.issue("server")
    return RenewedTls(TlsFiles(server.certificate, server.key), lambda _: None).context


# `osteo serve` takes uvloop where there is one. The answers in pieces and the end of a connection,
# where TLS differs between the two, are shown with asyncio too.
LOOPS = ("uvloop", pytest.param("asyncio", marks=pytest.mark.exhaustive))
on_both_loops = pytest.mark.parametrize("address", ["uvloop", "asyncio"], indirect=True)


@pytest.fixture(params=LOOPS)
def address(
    request: pytest.FixtureRequest, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, int]]:
    """A server that closes connections idle for a second, on either event loop."""
    monkeypatch.setattr(tls, "HANDSHAKE_TIMEOUT_S", 2.0)
    with serving(plain_app, keep_alive_s=1, tls=context, loop=request.param) as address:
        yield address


@pytest.fixture
def connect(address: tuple[str, int], authority: Authority) -> Connect:
    client = authority.trust()

    def connect() -> ssl.SSLSocket:
        plain = socket.create_connection(address, timeout=60)
        return client.wrap_socket(plain, server_hostname="127.0.0.1")

    return connect


def take(connection: ssl.SSLSocket, *, piece_bytes: int = 0, pause_s: float = 0.0) -> int:
    """Receive the answer to `GET_LARGE`, with a pause after each piece; how many bytes came."""
    n_bytes = n_since = 0
    with suppress(ConnectionResetError, ssl.SSLError):
        while n_bytes < len(LARGE) and (received := len(connection.recv(65_536))):
            n_bytes, n_since = n_bytes + received, n_since + received
            if piece_bytes and n_since >= piece_bytes:
                n_since = 0
                time.sleep(pause_s)
    return n_bytes


@on_both_loops
def test_large_answer_arrives(connect: Connect) -> None:
    with connect() as connection:
        connection.sendall(GET_LARGE)
        assert take(connection) >= len(LARGE)


def test_client_that_does_not_take_its_answer_is_disconnected(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, stall_check_s=0.1)
    with connect() as stalled:
        stalled.sendall(GET_LARGE)
        time.sleep(1)
        assert take(stalled) < len(LARGE)


@on_both_loops
def test_client_that_takes_its_answer_slowly_gets_all_of_it(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes longer than the keep-alive and the time for closing."""
    monkeypatch.setattr(tls, "CLOSE_TIMEOUT_S", 0.2)
    limit(monkeypatch, stall_check_s=1)
    with connect() as slow:
        slow.sendall(GET_LARGE)
        assert take(slow, piece_bytes=4 * 1024**2, pause_s=0.5) >= len(LARGE)


def test_pipelined_requests_are_answered_in_order(connect: Connect) -> None:
    with connect() as connection:
        connection.sendall(GET_SLOW + GET * 5 + b"nonsense\r\n\r\n")
        assert statuses(receive_all(connection)) == [200] * 6


@pytest.mark.parametrize(
    "request_", [b"", b"GET / HTTP/1.1\r\n", GET + b"\r\n"], ids=["silent", "slow", "blank"]
)
def test_connection_without_a_complete_request_is_closed(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    limit(monkeypatch, head_timeout_s=0.2)
    with connect() as connection:
        connection.sendall(request_)
        assert b"HTTP" not in receive_all(connection).removeprefix(b"HTTP/1.1 200")


def test_long_head_is_refused(connect: Connect) -> None:
    with connect() as connection:
        connection.sendall(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 40_000))
        assert connection.recv(4096).startswith(b"HTTP/1.1 431 ")


def test_many_pipelined_requests_close_the_connection(connect: Connect) -> None:
    with connect() as connection:
        connection.sendall(GET_SLOW * 70)
        with suppress(ConnectionResetError, ssl.SSLError):
            assert b"HTTP/1.1 200" not in receive_all(connection)


@on_both_loops
def test_client_that_says_goodbye_is_gone(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio closes both sides of TLS, and logs a warning if a protocol wants to keep one."""
    with connect() as connection:
        connection.sendall(GET_SLOW)
        with suppress(OSError):
            connection.unwrap()
        with suppress(OSError):
            assert is_closed_within(connection, 60)
    with connect() as connection:
        assert b"200" in ask(connection, GET)
    assert "eof_received" not in caplog.text


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_handshake_must_end_in_time(
    context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, loop: Loop
) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_TIMEOUT_S", 0.2)
    with (
        serving(plain_app, keep_alive_s=3600, tls=context, loop=loop) as address,
        socket.create_connection(address, timeout=60) as silent,
        socket.create_connection(address, timeout=60) as half,
    ):
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert is_closed_within(silent, 60)
        assert is_closed_within(half, 60)


def test_half_open_handshakes_do_not_stop_the_service(
    address: tuple[str, int], connect: Connect
) -> None:
    with ExitStack() as stack:
        halves = []
        for _ in range(300):
            half = stack.enter_context(socket.create_connection(address, timeout=60))
            half.sendall(b"\x16\x03\x01\x02\x00\x01")
            halves.append(half)
        with connect() as connection:
            for _ in range(3):
                assert b"200" in ask(connection, GET)
        assert all(is_closed_within(half, 60) for half in halves)


@pytest.mark.parametrize("loop", LOOPS)
def test_shutdown_does_not_wait_for_clients_that_do_not_read(
    context: ssl.SSLContext, authority: Authority, monkeypatch: pytest.MonkeyPatch, loop: Loop
) -> None:
    monkeypatch.setattr(tls, "CLOSE_TIMEOUT_S", 3600.0)
    monkeypatch.setattr(http_protocol, "TLS_GOODBYE_S", 0.1)
    client = authority.trust()
    with serving(
        plain_app, keep_alive_s=3600, tls=context, loop=loop, shutdown_timeout_s=3600
    ) as at:
        plain = socket.create_connection(at, timeout=60)
        pooled = client.wrap_socket(plain, server_hostname="127.0.0.1")
        assert b"200" in ask(pooled, GET)
    pooled.close()
