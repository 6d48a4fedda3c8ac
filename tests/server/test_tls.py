"""TLS over real connections: who may connect, and whom a client certificate names."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

import pytest
from cryptography import x509
from starlette.types import Receive, Scope, Send

from app.api.request_context import request_context
from app.server.tls import TlsFiles
from app.server.tls_renewal import RenewedTls
from tests.authorities import CLIENT_NAME, CLIENT_SUBJECT, Authority, Issued
from tests.server.connections import is_closed_within
from tests.servers import serving

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def name_caller(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI
    """Answers with the subject of the client's certificate."""
    if scope["type"] != "http":
        return
    body = f"<{request_context(scope).certificate_subject}>".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Peers:
    """A server's certificate, its address, and the authority of both sides."""

    authority: Authority
    server: Issued
    address: tuple[str, int]

    def connect(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        plain = socket.create_connection(self.address, timeout=60)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def named(self, context: ssl.SSLContext, n_requests: int = 1) -> set[str]:
        """Whom the server saw in the requests of one connection."""
        with self.connect(context) as connection:
            return {self.ask(connection) for _ in range(n_requests)}

    def ask(self, connection: ssl.SSLSocket) -> str:
        connection.sendall(GET)
        received = b""
        while not received.endswith(b">"):
            piece = connection.recv(4096)
            assert piece, "the server closed the connection"
            received += piece
        return received.rpartition(b"<")[2][:-1].decode()


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    authority = Authority(tmp_path_factory.mktemp("authority"), "hospital")
    server = authority.issue("server")
    files = TlsFiles(server.certificate, server.key, authority.certificate)
    tls = RenewedTls(files, note_expiry=lambda _: None)
    with serving(name_caller, tls=tls.context) as address:
        yield Peers(authority, server, address)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificate_names_the_caller_of_every_request(
    peers: Peers, version: ssl.TLSVersion
) -> None:
    context = peers.authority.trust(peers.authority.issue("client", CLIENT_NAME))
    context.maximum_version = version
    assert peers.named(context, n_requests=3) == {CLIENT_SUBJECT}
    assert CLIENT_NAME.rfc4514_string() == CLIENT_SUBJECT


def test_client_without_a_certificate_is_answered_and_names_nobody(peers: Peers) -> None:
    assert peers.named(peers.authority.trust()) == {"None"}


def test_certificate_with_an_empty_subject_names_nobody(peers: Peers) -> None:
    client = peers.authority.issue("nameless", x509.Name([]))
    assert peers.named(peers.authority.trust(client)) == {"None"}


def test_resumed_session_names_the_same_caller(peers: Peers) -> None:
    context = peers.authority.trust(peers.authority.issue("returning", CLIENT_NAME))
    with peers.connect(context) as first:
        peers.ask(first)
        session = first.session
    plain = socket.create_connection(peers.address, timeout=60)
    with context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as second:
        assert second.session_reused
        assert peers.ask(second) == CLIENT_SUBJECT


def test_certificate_of_another_authority_is_refused_with_an_alert(
    peers: Peers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = Authority(tmp_path, "other").issue("client", CLIENT_NAME)
    with caplog.at_level(logging.INFO), pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
        peers.named(peers.authority.trust(client))  # TLS 1.3 tells it with the first read
    (event,) = [vars(r) for r in caplog.records if r.message == "tls_handshake_failed"]
    assert event["reason"] == "CERTIFICATE_VERIFY_FAILED"
    assert event["detail"] == "unable to get local issuer certificate"


def test_expired_client_certificate_is_refused_with_an_alert(peers: Peers) -> None:
    client = peers.authority.issue("late", CLIENT_NAME, days=-1)
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.expired"):
        peers.named(peers.authority.trust(client))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_refused(peers: Peers) -> None:
    context = peers.authority.trust()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        peers.connect(context)


def test_http_1_1_is_negotiated(peers: Peers) -> None:
    context = peers.authority.trust()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with peers.connect(context) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


def test_plain_http_is_answered_with_a_hint(peers: Peers) -> None:
    with socket.create_connection(peers.address, timeout=60) as plain:
        plain.sendall(GET)
        answer = HTTPResponse(plain)
        answer.begin()
        assert answer.status == 400
        assert b"HTTPS only" in answer.read()


def test_bytes_that_are_not_tls_get_an_alert_and_end_the_connection(peers: Peers) -> None:
    with socket.create_connection(peers.address, timeout=60) as plain:
        plain.sendall(b"\x16\x03\x01\x00\x02\xff\xff" + bytes(100))
        assert plain.recv(4096)[0] == 21  # a TLS record with an alert
        plain.sendall(b"more")
        assert is_closed_within(plain, 60)
