"""Requests as bytes, from an address of their own each, and the answers to them."""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Final

from tests.servers import RunningServer
from training.data.drawn_tiles import draw_tile, encode_tile

TILE: Final = encode_tile(draw_tile("non_tumor", 512, 0))
_numbers = itertools.count(256)


@dataclass(frozen=True)
class Answer:
    """What a server answered; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def problem(self) -> str:
        """The slug of the problem, or nothing."""
        return self.body.partition(b'"type":"/problems/')[2].partition(b'"')[0].decode()


def request(
    target: bytes | str,
    *lines: bytes | str | Mapping[str, str],
    method: str = "POST",
    version: str = "1.1",
    body: bytes | None = None,
) -> bytes:
    """A request; `lines` are lines of its head, or headers. A POST without a body sends `TILE`."""
    body = (TILE if method == "POST" else b"") if body is None else body
    head = [f"{method} ".encode() + _bytes(target) + f" HTTP/{version}".encode(), b"Host: x"]
    head += [b"Content-Type: image/jpeg", b"Content-Length: %d" % len(body)]
    for line in lines:
        if isinstance(line, Mapping):
            head += [f"{name}: {value}".encode() for name, value in line.items()]
        else:
            head.append(_bytes(line))
    return b"\r\n".join([*head, b"\r\n"]) + body


def exchange(
    server: RunningServer, sent: bytes, method: str = "POST", tls: ssl.SSLContext | None = None
) -> Answer:
    """Send bytes and receive one answer."""
    with connect(server, tls) as connection:
        connection.sendall(sent)
        return receive(connection, method)


def connect(server: RunningServer, tls: ssl.SSLContext | None = None) -> socket.socket:
    """A connection from an address of its own: answers to failures are delayed by address."""
    number = next(_numbers)
    try:
        source = (f"127.1.{number // 256}.{number % 256}", 0)
        connection = socket.create_connection(server.address, 60, source_address=source)
    except OSError:  # only Linux has all these addresses; elsewhere answers take longer
        connection = socket.create_connection(server.address, 60)
    return connection if tls is None else tls.wrap_socket(connection, server_hostname="localhost")


def receive(connection: socket.socket, method: str = "POST") -> Answer:
    """Receive one answer, after which nothing was asked yet."""
    with HTTPResponse(connection, method=method) as response:
        response.begin()
        body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, body)


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
