"""What is accepted from an identity provider's server, and what is not."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from app.access.identity_provider import IdentityDocumentError, IdentityProvider
from app.core.errors import SettingsError
from tests.access.oidc.key_server import (
    DISCOVERY,
    KeyServer,
    endless_answer,
    json_answer,
    key_server,
    plain_answer,
)

KEYS: Final = [{"kty": "RSA", "kid": "one"}]


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as server:
        server.publish(KEYS)
        yield server


def failure(server: KeyServer, timeout_s: float = 60) -> str:
    with pytest.raises(IdentityDocumentError) as caught:
        IdentityProvider(server.issuer, timeout_s).fetch_keys()
    return str(caught.value)


def test_fetch_keys_reads_both_documents(server: KeyServer) -> None:
    assert IdentityProvider(server.issuer, 60).fetch_keys() == KEYS
    assert server.paths == [DISCOVERY, "/jwks"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_fetch_keys_finds_configuration_below_path_of_issuer(server: KeyServer, slash: str) -> None:
    issuer = f"{server.issuer}/realms/hospital{slash}"
    server.answers[f"/realms/hospital{DISCOVERY}"] = json_answer(
        {"issuer": issuer, "jwks_uri": f"{server.issuer}/jwks"}
    )
    assert IdentityProvider(issuer, 60).fetch_keys() == KEYS


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "http://[::1",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "https://",
    ],
)
def test_identity_provider_refuses_issuer_without_https(url: str) -> None:
    with pytest.raises(SettingsError, match="OSTEO_OIDC_ISSUER"):
        IdentityProvider(url, 1)


@pytest.mark.parametrize(
    "url", ["https://login.example", "http://127.0.0.1:80", "http://[::1]", "http://localhost/a"]
)
def test_identity_provider_accepts_https_and_loopback(url: str) -> None:
    IdentityProvider(url, 1)


@pytest.mark.parametrize("issuer", ["https://login.example", None, 1])
def test_fetch_keys_refuses_configuration_of_another_issuer(
    server: KeyServer, issuer: object
) -> None:
    server.configure(issuer=issuer)
    assert "another issuer" in failure(server)


@pytest.mark.parametrize("jwks_uri", ["http://login.example/jwks", "file:///etc/passwd", None, 1])
def test_fetch_keys_refuses_address_of_keys_without_https(
    server: KeyServer, jwks_uri: object
) -> None:
    server.configure(jwks_uri=jwks_uri)
    assert "no jwks_uri with HTTPS" in failure(server)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (plain_answer(b"", 500), "status 500"),
        (plain_answer(b"<html>"), "not JSON"),
        (plain_answer(b"\xff"), "not JSON"),
        (plain_answer(b"[" * 100_000), "not JSON"),
        (json_answer([]), "not a JSON object"),
        (json_answer({"keys": {}}), "no list of keys"),
        (json_answer({}), "no list of keys"),
        (plain_answer(b'{"keys": []}' + b" " * (1 << 20)), "larger than 1048576 bytes"),
        (plain_answer(b"", 302, Location="http://127.0.0.1:1/jwks"), "another host"),
        (plain_answer(b"", 302, Location="https://127.0.0.1/jwks"), "another host"),
        (plain_answer(b"", 302, Location="file:///etc/passwd"), "status 302"),
        (plain_answer(b"", 302, Location="/jwks"), "status 302"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fetch_keys_refuses_answer(
    server: KeyServer, answer: Callable[..., None], message: str
) -> None:
    server.answers["/jwks"] = answer
    assert message in failure(server)


def test_fetch_keys_follows_redirect_to_same_host(server: KeyServer) -> None:
    server.answers["/moved"] = server.answers["/jwks"]
    server.answers["/jwks"] = plain_answer(b"", 302, Location="/moved")
    assert IdentityProvider(server.issuer, 60).fetch_keys() == KEYS


def test_fetch_keys_ends_when_answer_never_does(server: KeyServer) -> None:
    server.answers["/jwks"] = endless_answer
    assert "in time" in failure(server, timeout_s=1)


def test_fetch_keys_fails_when_nobody_listens(server: KeyServer) -> None:
    server.configure(jwks_uri="http://127.0.0.1:1/jwks")
    assert "did not answer" in failure(server)


def test_fetch_keys_fails_when_host_name_is_impossible(server: KeyServer) -> None:
    server.configure(jwks_uri=f"https://{'a' * 64}.example/jwks")
    assert "did not answer" in failure(server)


def test_fetch_keys_does_not_ask_proxy_for_loopback(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert IdentityProvider(server.issuer, 60).fetch_keys() == KEYS


def write_certificate(folder: Path) -> Path:
    """A file with a key and a certificate for localhost that no authority has signed."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file


def test_fetch_keys_verifies_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with key_server("https", "localhost", context) as server:
        server.publish(KEYS)
        assert "CERTIFICATE_VERIFY_FAILED" in failure(server)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert IdentityProvider(server.issuer, 60).fetch_keys() == KEYS
