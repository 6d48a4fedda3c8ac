"""A server without a model, and clients that speak to it byte by byte."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from dataclasses import replace

import pytest
from starlette.types import Receive, Scope, Send

from app.server.http_protocol import GuardedProtocol

LARGE = bytes(24 * 1024**2)  # more than the buffers of the system hold
GET = b"GET /served HTTP/1.1\r\nHost: x\r\n\r\n"
GET_SLOW = GET.replace(b"served", b"slow")
GET_LARGE = GET.replace(b"served", b"large")


async def plain_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without reading the body, except at `/echo`; `/slow` takes 0.6 s."""
    if scope["type"] != "http":
        return
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


def limit(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    """Replace some limits of the servers in this process."""
    monkeypatch.setattr(GuardedProtocol, "limits", replace(GuardedProtocol.limits, **limits))


def receive_until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        piece = connection.recv(65_536)
        assert piece, f"the connection was closed after {received[-100:]!r}"
        received += piece
    return received


def ask(connection: socket.socket, request: bytes) -> bytes:
    """Send a request; returns the status line of its answer."""
    connection.sendall(request)
    return receive_until(connection, b"ok").splitlines()[0]


def is_closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def take_all(connection: socket.socket, pause_s: float = 0.0) -> int:
    """Receive the answer to `GET_LARGE`, slowly if asked to; returns how many bytes came."""
    n_bytes = 0
    while n_bytes < len(LARGE) and (piece := connection.recv(4 * 1024**2)):
        n_bytes += len(piece)
        time.sleep(pause_s)
    return n_bytes


def receive_all(connection: socket.socket) -> bytes:
    """Receive until the server closes the connection."""
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


def statuses(received: bytes) -> list[int]:
    """Statuses of the answers received, in their order."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]
