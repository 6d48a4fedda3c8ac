"""Tokens of a real provider are accepted; what is made of them or of its public keys is not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.access.caller import Caller, Scope
from app.access.tokens import TokenVerifier
from app.core.access_errors import CredentialsInvalidError
from tests.access.oidc.provider import AUDIENCE, Provider, new_rsa_key

HOUR_S: Final = 3600


def verify(
    provider: Provider,
    token: str,
    *,
    scopes_claim: str = "scope",
    clock: Callable[[], float] = time.time,
) -> Caller:
    verifier = TokenVerifier(provider.issuer, AUDIENCE, scopes_claim, timeout_s=60, clock=clock)
    return asyncio.run(verifier.verify(token))


def reason_for(provider: Provider, token: str, clock: Callable[[], float] = time.time) -> str:
    """Why a token is refused; checks that the error shows nothing of it."""
    with pytest.raises(CredentialsInvalidError) as caught:
        verify(provider, token, clock=clock)
    assert caught.value.__context__ is None
    assert not any(part in str(caught.value) for part in token.split(".") if part)
    return caught.value.reason


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Header, claims and signature of a token."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.get_unverified_header(token), claims, token.rpartition(".")[2]


def rebuilt(header: dict[str, Any], claims: dict[str, Any], signature: str) -> str:
    """A token with changed parts and a signature that is taken over."""
    head, body = (encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{head}.{body}.{signature}"


def public_pem(provider: Provider) -> bytes:
    key = jwt.PyJWK(provider.public_key("rsa-1"), algorithm="RS256").key
    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "ES256", "EdDSA"])
def test_verify_names_client_of_provider(provider: Provider, algorithm: str) -> None:
    token = provider.token(algorithm=algorithm, scope="classify explain")
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    expected = Caller("scanner", "token", frozenset({Scope.CLASSIFY, Scope.EXPLAIN}))
    assert verify(provider, token) == expected


def test_verify_reads_scopes_from_list_of_another_claim(provider: Provider) -> None:
    caller = verify(provider, provider.token(), scopes_claim="permissions")
    assert caller.scopes == {Scope.EXPLAIN}


def test_verify_refuses_token_for_another_service(provider: Provider) -> None:
    token = provider.token(audience="https://reports.example")
    assert reason_for(provider, token) == "audience"


def test_verify_refuses_token_of_another_issuer_with_the_same_keys(provider: Provider) -> None:
    token = provider.token(issuer=provider.other_issuer)
    assert reason_for(provider, token) == "issuer"


@pytest.mark.parametrize(
    ("skew_s", "reason"),
    [(HOUR_S + 60, "expired"), (-60, "not-yet-valid")],
)
def test_verify_refuses_token_outside_its_time(
    provider: Provider, skew_s: float, reason: str
) -> None:
    token = provider.token()
    issued_at = parts_of(token)[1]["iat"]
    assert reason_for(provider, token, lambda: issued_at + skew_s) == reason


@pytest.mark.parametrize("skew_s", [HOUR_S + 29, -30])
def test_verify_allows_for_clocks_that_differ(provider: Provider, skew_s: float) -> None:
    token = provider.token()
    issued_at = parts_of(token)[1]["iat"]
    assert verify(provider, token, clock=lambda: issued_at + skew_s).name == "scanner"


def test_verify_refuses_changed_claims(provider: Provider) -> None:
    header, claims, signature = parts_of(provider.token())
    forged = rebuilt(header, {**claims, "scope": "classify models:write"}, signature)
    assert reason_for(provider, forged) == "signature"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_verify_refuses_signature_of_another_token(provider: Provider, algorithm: str) -> None:
    first, second = (provider.token(algorithm=algorithm) for _ in range(2))
    forged = ".".join([*first.split(".")[:2], second.rpartition(".")[2]])
    assert reason_for(provider, forged) == "signature"


def test_verify_refuses_missing_signature(provider: Provider) -> None:
    signed = provider.token().rpartition(".")[0]
    assert reason_for(provider, f"{signed}.") == "signature"


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "", None])
def test_verify_refuses_unsigned_token(provider: Provider, algorithm: str | None) -> None:
    header, claims, signature = parts_of(provider.token())
    for kept in ("", signature):
        forged = rebuilt({**header, "alg": algorithm}, claims, kept)
        assert reason_for(provider, forged) == "algorithm"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_verify_refuses_public_key_as_shared_secret(provider: Provider, algorithm: str) -> None:
    header, claims, _ = parts_of(provider.token())
    head, body, _ = rebuilt({**header, "alg": algorithm}, claims, "").split(".")
    digest = getattr(hashlib, f"sha{algorithm[2:]}")
    secret = public_pem(provider)
    for key in (secret, secret.strip()):
        signature = encoded(hmac.new(key, f"{head}.{body}".encode(), digest).digest())
        assert reason_for(provider, f"{head}.{body}.{signature}") == "algorithm"


def test_verify_refuses_own_key_under_name_of_the_provider(provider: Provider) -> None:
    header, claims, _ = parts_of(provider.token())
    own = jwt.PyJWK({**new_rsa_key(), "kid": header["kid"]}, algorithm="RS256")
    public = jwt.algorithms.RSAAlgorithm.to_jwk(own.key.public_key(), as_dict=True)
    # RFC 7515: these headers name the key to use, which an attacker could choose.
    address = {"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/certificate"}
    for extra in ({}, {"jwk": public}, address):
        forged = jwt.encode(claims, own.key, algorithm="RS256", headers={**header, **extra})
        assert reason_for(provider, forged) == "signature"


def test_verify_refuses_own_key_under_its_own_name(provider: Provider) -> None:
    header, claims, _ = parts_of(provider.token())
    own = jwt.PyJWK(new_rsa_key(), algorithm="RS256").key
    forged = jwt.encode(claims, own, algorithm="RS256", headers={**header, "kid": "mine"})
    assert reason_for(provider, forged) == "unknown-key"


def test_verify_refuses_algorithm_of_another_kind_of_key(provider: Provider) -> None:
    header, claims, _ = parts_of(provider.token())
    own = generate_ec_key(SECP256R1())
    forged = jwt.encode(claims, own, algorithm="ES256", headers={**header, "alg": "ES256"})
    assert jwt.get_unverified_header(forged)["kid"] == "rsa-1"
    assert reason_for(provider, forged) == "algorithm"


def test_verify_refuses_cached_token_when_it_expires(provider: Provider) -> None:
    token = provider.token()
    now = float(parts_of(token)[1]["iat"])
    verifier = TokenVerifier(provider.issuer, AUDIENCE, "scope", 60, clock=lambda: now)
    asyncio.run(verifier.verify(token))
    assert verifier.verify_cached(token) is not None
    now += HOUR_S + 30
    with pytest.raises(CredentialsInvalidError, match="has expired"):
        verifier.verify_cached(token)
