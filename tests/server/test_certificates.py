from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from app.server.certificates import expiry_of, subject_of

KEY = ed25519.Ed25519PrivateKey.generate()
OPENSSL_NAMES = {
    NameOID.COMMON_NAME: "commonName",
    NameOID.ORGANIZATION_NAME: "organizationName",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "organizationalUnitName",
    NameOID.LOCALITY_NAME: "localityName",
    NameOID.STATE_OR_PROVINCE_NAME: "stateOrProvinceName",
    NameOID.STREET_ADDRESS: "streetAddress",
    NameOID.DOMAIN_COMPONENT: "domainComponent",
    NameOID.USER_ID: "userId",
}
PRINTABLE = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"),
    min_size=1,
    max_size=20,
)

PARTS = st.lists(
    st.tuples(st.sampled_from(list(OPENSSL_NAMES)), PRINTABLE),
    min_size=1,
    max_size=2,
    unique_by=lambda pair: pair[0],
)


def signed(not_after: datetime, name: x509.Name | None = None) -> str:
    name = name or x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "n" * 60)]))
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(1960, 1, 1, tzinfo=UTC))
        .not_valid_after(not_after)
        .sign(KEY, None)
    )
    return certificate.public_bytes(Encoding.PEM).decode()


@given(
    st.datetimes(datetime(1960, 1, 2), datetime(9999, 12, 31)).map(  # noqa: DTZ001 - Hypothesis wants it so
        lambda time: time.replace(microsecond=0, tzinfo=UTC)
    )
)
def test_expiry_is_the_one_that_was_signed(not_after: datetime) -> None:
    assert expiry_of(f"a comment\n{signed(not_after)}") == not_after.timestamp()


def test_expiry_is_that_of_the_first_certificate_of_a_chain() -> None:
    first, second = (datetime(year, 1, 1, tzinfo=UTC) for year in (2030, 2040))
    assert expiry_of(signed(first) + signed(second)) == first.timestamp()


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----", "no certificate"])
def test_expiry_says_that_there_is_no_certificate(text: str) -> None:
    with pytest.raises(ValueError, match="no PEM certificate"):
        expiry_of(text)


@given(st.binary(max_size=40))
def test_expiry_of_other_bytes_is_an_error(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"no (X\.509|PEM) certificate"):
        expiry_of(ssl.DER_cert_to_PEM_cert(der))


@given(st.lists(PARTS, min_size=1, max_size=5))
def test_subject_is_written_as_another_library_writes_it(
    parts: list[list[tuple[x509.ObjectIdentifier, str]]],
) -> None:
    peer = {"subject": tuple(tuple((OPENSSL_NAMES[o], v) for o, v in part) for part in parts)}
    name = x509.Name(
        [
            x509.RelativeDistinguishedName(
                [x509.NameAttribute(o, v, _validate=False) for o, v in p]
            )
            for p in parts
        ]
    )
    assert subject_of(peer) == name.rfc4514_string()


def test_subject_has_no_control_characters() -> None:
    peer = {"subject": ((("commonName", "a\r\nb\x00\x7f"),),)}
    assert subject_of(peer) == r"CN=a\0D\0Ab\00\7F"


@pytest.mark.parametrize("peer", [None, {}, {"subject": ()}])
def test_subject_is_none_when_nobody_is_named(peer: dict[str, object] | None) -> None:
    assert subject_of(peer) is None
