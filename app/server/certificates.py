"""What is read from certificates: when they expire, and whom they name."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

_PEM: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", re.ASCII
)
_UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x17, 0x18, 0xA0  # tags of ASN.1 (X.690)

# The names of RFC 4514 (3) and, below, those of LDAP (RFC 4519, RFC 2798, RFC 2985) for the names
# that OpenSSL writes out. An attribute that is not listed keeps OpenSSL's name or its OID.
_TYPES: Final = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
    "surname": "sn",
}
_SPECIAL: Final = re.compile(r'[",+;<>\\]|^[ #]| \Z')
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def expiry_of(pem: str) -> float:
    """When the first certificate of a PEM text expires (RFC 5280, 4.1.2.5).

    `ssl` tells this of a peer's certificate only, and the service needs no cryptography library.

    Returns:
        Seconds since 1970 (UTC).

    Raises:
        ValueError: there is no certificate in the text, or it is not X.509.
    """
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("it contains no PEM certificate")
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0])
        _, at, _ = _element(der, 0)  # the certificate
        _, at, _ = _element(der, at)  # what is signed
        tag, _, end = _element(der, at)  # the version, which is left out in version 1
        n_before_validity = 3 if tag == _VERSION else 2
        for _ in range(n_before_validity):  # serial number, algorithm, issuer
            _, _, end = _element(der, end)
        _, at, _ = _element(der, end)  # the validity
        _, _, at = _element(der, at)  # not before
        tag, at, end = _element(der, at)  # not after
        return _seconds(tag, der[at:end].decode("ascii"))
    except (ValueError, IndexError) as error:
        raise ValueError("it contains no X.509 certificate that can be read") from error


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start of the content and end of the DER element at a position."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        n_bytes = length & 0x7F
        length, start = int.from_bytes(der[start : start + n_bytes]), start + n_bytes
    return tag, start, start + length


def _seconds(tag: int, text: str) -> float:
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError(f"tag {tag} is no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def subject_of(peer_certificate: Mapping[str, Any] | None) -> str | None:
    """The subject of a verified peer's certificate as text (RFC 4514).

    Args:
        peer_certificate: what `ssl.SSLSocket.getpeercert` returns.

    Returns:
        Such as "CN=lis,O=Hospital": the last part of the subject first, as LDAP writes it. Control
        characters are escaped as well, so that a name cannot break a line. None without a
        certificate, and for a certificate with an empty subject, which names nobody.
    """
    parts = (peer_certificate or {}).get("subject", ())
    written = ["+".join(_attribute(*pair) for pair in part) for part in reversed(parts)]
    return ",".join(written) or None


def _attribute(name: str, value: str) -> str:
    escaped = _SPECIAL.sub(lambda found: f"\\{found[0]}", value)
    escaped = _CONTROL.sub(lambda found: f"\\{ord(found[0]):02X}", escaped)
    return f"{_TYPES.get(name, name)}={escaped}"
