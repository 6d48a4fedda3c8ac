"""Publish keys from this process, right or wrong, and sign tokens with them."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import jwt

DISCOVERY: Final = "/.well-known/openid-configuration"
Answer = Callable[[BaseHTTPRequestHandler], None]


class KeyServer:
    """Answers by path; `answers` may be changed at any time.

    Attributes:
        issuer: URL of the server.
        answers: what to do with a request, by path; other paths are 404.
        paths: those that were asked for, in order.
        traceparents: the header of each request; None where it was missing.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.answers: dict[str, Answer] = {}
        self.paths: list[str] = []
        self.traceparents: list[str | None] = []
        self.configure()
        self.publish([])

    def configure(self, **changed: object) -> None:
        """Publish the provider's configuration, with some members changed."""
        document = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks", **changed}
        self.answers[DISCOVERY] = json_answer(document)

    def publish(self, keys: list[dict[str, Any]]) -> None:
        """Publish these keys."""
        self.answers["/jwks"] = json_answer({"keys": keys})


def json_answer(document: object) -> Answer:
    return plain_answer(json.dumps(document).encode())


def plain_answer(content: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def endless_answer(handler: BaseHTTPRequestHandler) -> None:
    """Send a byte now and then, until the client closes the connection."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" ")
            time.sleep(0.01)
    except OSError:
        pass


@contextmanager
def key_server(
    scheme: str = "http", host: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> Iterator[KeyServer]:
    """Serve from a thread, on the loopback address.

    Args:
        scheme: of the issuer's URL.
        host: of the issuer's URL; a name of the loopback address.
        context: the server's certificate and key, for HTTPS.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.paths.append(self.path)
            keys.traceparents.append(self.headers["traceparent"])
            keys.answers.get(self.path, plain_answer(b"", 404))(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    keys = KeyServer(f"{scheme}://{host}:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield keys
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sign(key: dict[str, Any], algorithm: str, claims: object, **header: object) -> str:
    """Sign any JSON value, with any header; PyJWT's own checks of what it signs are left out.

    Args:
        key: a private key as a JSON Web Key.
        algorithm: how it signs, and `alg` of the header.
        claims: the payload.
        **header: replaces members of the header; None leaves one out.
    """
    merged = {"typ": "at+jwt", "kid": key.get("kid"), "alg": algorithm, **header}
    head = {name: value for name, value in merged.items() if value is not None}
    parts = [jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (head, claims)]
    method = jwt.get_algorithm_by_name(algorithm)
    signed = b".".join(parts)
    private = jwt.PyJWK(key, algorithm=algorithm).key
    return b".".join([signed, jwt.utils.base64url_encode(method.sign(signed, private))]).decode()
