"""Certificate authorities and the certificates that they issue, as PEM files for real servers."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

CLIENT_NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "St. Anna, Graz"),
        x509.NameAttribute(NameOID.COMMON_NAME, "lis"),
    ]
)
CLIENT_SUBJECT = r"CN=lis,O=St. Anna\, Graz,C=DE"
PASS_PHRASE = b"pass phrase of the test"


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in PEM files."""

    certificate: Path
    key: Path
    x509: x509.Certificate

    @property
    def serial(self) -> str:
        """As `ssl` writes it."""
        text = f"{self.x509.serial_number:X}"
        return "0" * (len(text) % 2) + text


class Authority:
    """An authority of its own; its certificate is `certificate`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = _sign(self._name, self._key, self._name, self._key, days=30, is_ca=True)
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))

    def trust(self, client: Issued | None = None) -> ssl.SSLContext:
        """A client that trusts this authority, with a certificate of its own if it has one."""
        context = ssl.create_default_context(cafile=self.certificate)
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        return context

    def issue(
        self,
        name: str,
        subject: x509.Name | None = None,
        *,
        days: int = 20,
        is_locked: bool = False,
    ) -> Issued:
        """Issue a certificate for the loopback address; it expired long ago if `days` is negative.

        Args:
            name: of the files.
            subject: whom it names; the host if not given.
            days: until it expires.
            is_locked: encrypt the key with `PASS_PHRASE`.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        host = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        certificate = _sign(
            host if subject is None else subject, key, self._name, self._key, days=days
        )
        issued = Issued(self._folder / f"{name}.pem", self._folder / f"{name}.key", certificate)
        issued.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        encryption = BestAvailableEncryption(PASS_PHRASE) if is_locked else NoEncryption()
        issued.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        return issued


def _sign(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    days: int,
    is_ca: bool = False,
) -> x509.Certificate:
    now = datetime.now(UTC)
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=40))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
