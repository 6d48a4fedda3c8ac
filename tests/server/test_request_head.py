"""Heads that two servers could read differently are refused."""

from __future__ import annotations

import socket

import pytest

from app.server.request_head import find_fault
from tests.server.connections import GET, ask, receive_all, statuses

HOST = (b"host", b"x")
CHUNKED = (b"transfer-encoding", b"chunked")
LENGTH = (b"content-length", b"4")


@pytest.mark.parametrize(
    "headers",
    [
        [HOST],
        [(b"host", b"")],
        [(b"host", b"tiles.hospital.example:8000")],
        [(b"host", b"[::1]:8000")],
        [(b"host", b"osteo_tiles ")],
        [HOST, LENGTH],
        [HOST, CHUNKED],
        [HOST, (b"transfer-encoding", b"Chunked\t")],
    ],
)
def test_unambiguous_head_is_accepted(headers: list[tuple[bytes, bytes]]) -> None:
    assert find_fault(headers, "1.1") is None


@pytest.mark.parametrize(
    ("headers", "version", "fault"),
    [
        ([], "1.1", "0 Host headers"),
        ([HOST, HOST], "1.1", "2 Host headers"),
        ([HOST, (b"host", b"y")], "1.0", "2 Host headers"),
        ([(b"host", b"x, y")], "1.1", "not a host"),
        ([(b"host", b"x y")], "1.1", "not a host"),
        ([(b"host", b"http://x/")], "1.1", "not a host"),
        ([HOST, (b"transfer-encoding", b"gzip, chunked")], "1.1", "only Transfer-Encoding"),
        ([HOST, (b"transfer-encoding", b"chunked, chunked")], "1.1", "only Transfer-Encoding"),
        ([HOST, (b"transfer-encoding", b"identity")], "1.1", "only Transfer-Encoding"),
        ([HOST, (b"transfer-encoding", b"\x0bchunked")], "1.1", "only Transfer-Encoding"),
        ([HOST, CHUNKED, CHUNKED], "1.1", "only Transfer-Encoding"),
        ([HOST, CHUNKED], "1.0", "HTTP/1.0"),
        ([HOST, CHUNKED, LENGTH], "1.1", "both"),
    ],
)
def test_ambiguous_head_is_a_fault(
    headers: list[tuple[bytes, bytes]], version: str, fault: str
) -> None:
    assert fault in (find_fault(headers, version) or "")


@pytest.mark.parametrize("target", [b"/x?y", b"*", b"http://x/", b"http://x/y?z", b"//x"])
def test_path_and_url_are_accepted(target: bytes) -> None:
    assert find_fault([HOST], "1.1", target) is None


@pytest.mark.parametrize(
    "target", [b"/x#y", b"/x?y#z", b"http://x", b"http://x?y", b"http://x:99999/y", b"/\xff"]
)
def test_target_without_one_path_and_query_is_a_fault(target: bytes) -> None:
    assert "request target" in (find_fault([HOST], "1.1", target) or "")


def test_http_1_0_needs_no_host() -> None:
    assert find_fault([], "1.0") is None


@pytest.mark.parametrize(
    "head",
    [
        b"GET /served HTTP/1.1\r\n\r\n",
        b"GET /served HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n"
        b"\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
def test_ambiguous_request_is_refused_and_closes_the_connection(
    plain_address: tuple[str, int], head: bytes, before: bytes
) -> None:
    with socket.create_connection(plain_address, timeout=10) as connection:
        if before:
            assert b"200" in ask(connection, before)
        connection.sendall(head)
        received = receive_all(connection)
    assert statuses(received) == [400]
    assert b"connection: close" in received
