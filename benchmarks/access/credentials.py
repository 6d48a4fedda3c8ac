"""An API key, a certificate and an identity provider of the benchmark's own."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from app.access.caller import OPEN_SCOPES, Scope
from app.access.key_changes import create_key

AUDIENCE: Final = "osteo-benchmark"
_KEY_BITS: Final = 2048
_TOKEN_LIFE_S: Final = 24 * 3600
_KEY_ID: Final = "benchmark"


def make_api_key(file: Path) -> dict[str, str]:
    """Create a file with an API key; returns the headers that send it."""
    return bearer(create_key(file, "benchmark", OPEN_SCOPES, None).key)


def bearer(secret: str) -> dict[str, str]:
    """The header that sends a key or a token."""
    return {"Authorization": f"Bearer {secret}"}


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that signs itself; it serves as the server's, the client's and the CA."""

    file: Path
    key_file: Path

    @classmethod
    def create(cls, folder: Path) -> Certificate:
        """Create one for the loopback address, with `openssl` and a P-256 key."""
        certificate = cls(folder / "tls.crt", folder / "tls.key")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",  # noqa: S607 - the developer's own
             "-nodes", "-days", "2", "-subj", "/CN=benchmark", "-addext",
             "subjectAltName=IP:127.0.0.1", "-keyout", certificate.key_file, "-out",
             certificate.file],
            check=True, capture_output=True,
        )  # fmt: skip
        return certificate

    def client(self, *, identifies: bool) -> ssl.SSLContext:
        """How a client speaks TLS that trusts it; it shows it, too, if it identifies the client."""
        context = ssl.create_default_context(cafile=self.file)
        if identifies:
            context.load_cert_chain(self.file, self.key_file)
        return context


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider that runs.

    Attributes:
        issuer: its URL.
        token: an access token that it signed, with every scope of an API key.
    """

    issuer: str
    token: str = field(repr=False)


@contextmanager
def provider() -> Iterator[Provider]:
    """Publish a key as an identity provider does, from a thread, and sign a token with it."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    public: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    public |= {"kid": _KEY_ID, "alg": "RS256", "use": "sig"}
    documents: dict[str, object] = {"/jwks": {"keys": [public]}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(documents.get(self.path, {})).encode()
            self.send_response(200 if self.path in documents else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = f"http://127.0.0.1:{server.server_port}"
    documents["/.well-known/openid-configuration"] = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
    }
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Provider(issuer, _sign(private, issuer, OPEN_SCOPES))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _sign(private: rsa.RSAPrivateKey, issuer: str, scopes: frozenset[Scope]) -> str:
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": "benchmark",
        "client_id": "benchmark",
        "jti": "1",
        "iat": now,
        "exp": now + _TOKEN_LIFE_S,
        "scope": " ".join(sorted(scopes)),
    }
    return jwt.encode(claims, private, "RS256", headers={"kid": _KEY_ID, "typ": "at+jwt"})
