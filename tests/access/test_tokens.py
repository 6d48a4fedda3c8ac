"""What a token may look like, and what it says about its sender."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import sys
import time
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm

from app.access.caller import Scope
from app.access.tokens import MAX_TOKEN_BYTES, TokenVerifier
from app.core.access_errors import CredentialsInvalidError, IdentityProviderError
from app.core.errors import SettingsError
from tests.access.oidc.key_server import key_server, sign

NOW: Final = 1_800_000_000
KEY: Final = {**ECAlgorithm.to_jwk(generate_private_key(SECP256R1()), as_dict=True), "kid": "one"}
PUBLIC: Final = {name: value for name, value in KEY.items() if name != "d"}
AUDIENCE: Final = "tiles"
SCALARS: Final = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=200)
)
JSON: Final = SCALARS | st.lists(SCALARS, max_size=3)
NAMES: Final = ("iss", "aud", "exp", "nbf", "iat", "sub", "client_id", "jti", "scope", "cnf")


@pytest.fixture(scope="module")
def verifier() -> TokenVerifier:
    """A verifier that knows the key, at a time that stands still."""
    with key_server() as server:
        server.publish([PUBLIC])
        verifier = TokenVerifier(server.issuer, AUDIENCE, "scope", 60, clock=lambda: NOW)
        with pytest.raises(CredentialsInvalidError):
            asyncio.run(verifier.verify(sign({**KEY, "kid": "other"}, "ES256", {})))
    assert verifier.n_fetches == 1
    return verifier


def claims_of(verifier: TokenVerifier, **changed: object) -> dict[str, Any]:
    """Claims that are accepted, with some changed; None leaves one out."""
    claims = {"iss": verifier._issuer, "aud": AUDIENCE, "exp": NOW + 60, "sub": "scanner"}
    merged: dict[str, Any] = {**claims, "scope": "classify", **changed}
    return {name: value for name, value in merged.items() if value is not None}


def reason_for(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(CredentialsInvalidError) as caught:
        verifier.verify_cached(token)
    assert caught.value.__context__ is None
    return caught.value.reason


def test_verify_cached_remembers_token(verifier: TokenVerifier) -> None:
    token = sign(KEY, "ES256", claims_of(verifier, jti="remembered"))
    first = verifier.verify_cached(token)
    assert first is not None
    assert verifier.verify_cached(token) is first


def test_verify_cached_remembers_bounded_number_of_tokens(
    verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.access.tokens._MAX_VERIFIED", 3)
    tokens = [sign(KEY, "ES256", claims_of(verifier, jti=str(n))) for n in range(5)]
    verifier._verified.clear()
    callers = [verifier.verify_cached(token) for token in tokens]
    assert len(verifier._verified) == 3
    assert verifier.verify_cached(tokens[4]) is callers[4]
    assert verifier.verify_cached(tokens[0]) is not callers[0]


@pytest.mark.parametrize("kind", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", None])
def test_verify_cached_accepts_type(verifier: TokenVerifier, kind: str | None) -> None:
    token = sign(KEY, "ES256", claims_of(verifier), typ=kind)
    assert verifier.verify_cached(token) is not None


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "dpop+jwt"},
        {"typ": "logout+jwt"},
        {"typ": 1},
        {"kid": 1},
        {"kid": ["one"]},
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
    ],
)
def test_verify_cached_refuses_header(verifier: TokenVerifier, header: dict[str, Any]) -> None:
    assert reason_for(verifier, sign(KEY, "ES256", claims_of(verifier), **header)) == "malformed"


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256K"])
def test_verify_cached_refuses_algorithm_before_a_key_is_fetched(
    verifier: TokenVerifier, algorithm: str
) -> None:
    token = sign(KEY, "ES256", claims_of(verifier), kid="unknown", alg=algorithm)
    assert reason_for(verifier, token) == "algorithm"


def test_verify_cached_takes_the_only_key_for_token_without_key_name(
    verifier: TokenVerifier,
) -> None:
    assert verifier.verify_cached(sign(KEY, "ES256", claims_of(verifier), kid=None)) is not None


def test_verify_refuses_token_without_key_name_when_there_are_several() -> None:
    with key_server() as server:
        server.publish([PUBLIC, {**PUBLIC, "kid": "two"}])
        verifier = TokenVerifier(server.issuer, AUDIENCE, "scope", 60, clock=lambda: NOW)
        token = sign(KEY, "ES256", claims_of(verifier), kid=None)
        with pytest.raises(CredentialsInvalidError) as caught:
            asyncio.run(verifier.verify(token))
    assert caught.value.reason == "unknown-key"


@pytest.mark.parametrize(
    ("claim", "value", "reason"),
    [
        ("exp", None, "claims"),
        ("exp", True, "claims"),
        ("exp", str(NOW + 60), "claims"),
        ("exp", math.nan, "claims"),
        ("exp", math.inf, "claims"),
        ("exp", 10**400, "claims"),
        ("exp", [NOW + 60], "claims"),
        ("exp", NOW - 30, "expired"),
        ("exp", -1, "expired"),
        ("nbf", NOW + 31, "not-yet-valid"),
        ("nbf", "now", "claims"),
        ("iat", NOW + 31, "not-yet-valid"),
        ("iat", {}, "claims"),
        ("iss", None, "issuer"),
        ("iss", "https://login.example", "issuer"),
        ("iss", ["https://login.example"], "issuer"),
        ("aud", None, "audience"),
        ("aud", "", "audience"),
        ("aud", "tiles2", "audience"),
        ("aud", ["reports"], "audience"),
        ("aud", {"tiles": 1}, "audience"),
        ("aud", [["tiles"]], "audience"),
        ("sub", None, "claims"),
        ("sub", "", "claims"),
        ("sub", 7, "claims"),
        ("cnf", {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}, "claims"),
    ],
)
def test_verify_cached_refuses_claim(
    verifier: TokenVerifier, claim: str, value: object, reason: str
) -> None:
    token = sign(KEY, "ES256", claims_of(verifier, **{claim: value}))
    assert reason_for(verifier, token) == reason


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": ["reports", AUDIENCE]},
        {"exp": NOW - 29},
        {"exp": NOW + 0.5},
        {"nbf": NOW + 30, "iat": NOW + 30},
    ],
)
def test_verify_cached_accepts_claims(verifier: TokenVerifier, changed: dict[str, Any]) -> None:
    assert verifier.verify_cached(sign(KEY, "ES256", claims_of(verifier, **changed))) is not None


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ("explain  classify other", {Scope.CLASSIFY, Scope.EXPLAIN}),
        (["models:write", 1, None], {Scope.MODELS_WRITE}),
        ("Classify", set()),
        ("", set()),
        (None, set()),
        ({"classify": True}, set()),
        (7, set()),
    ],
)
def test_verify_cached_reads_scopes(
    verifier: TokenVerifier, scopes: object, expected: set[Scope]
) -> None:
    caller = verifier.verify_cached(sign(KEY, "ES256", claims_of(verifier, scope=scopes)))
    assert caller is not None
    assert caller.scopes == expected


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"sub": "Ärztin 7", "client_id": "app"}, "Ärztin 7"),
        ({"sub": None, "client_id": "app", "azp": "other"}, "app"),
        ({"sub": "", "azp": "other"}, "other"),
        ({"sub": "x" * 128}, "x" * 128),
    ],
)
def test_verify_cached_names_caller(
    verifier: TokenVerifier, changed: dict[str, Any], name: str
) -> None:
    caller = verifier.verify_cached(sign(KEY, "ES256", claims_of(verifier, **changed)))
    assert caller is not None
    assert (caller.name, caller.kind) == (name, "token")


def test_verify_cached_keeps_long_and_unprintable_names_apart(verifier: TokenVerifier) -> None:
    subjects = ["x" * 128 + "1", "x" * 128 + "2", "a\nb", "a\tb", "a\ud800b", "a?b"]
    names = []
    for subject in subjects:
        caller = verifier.verify_cached(sign(KEY, "ES256", claims_of(verifier, sub=subject)))
        assert caller is not None
        names.append(caller.name)
    assert len(set(names)) == len(subjects)
    assert all(len(name) <= 128 and name.isprintable() for name in names)
    assert names[5] == "a?b"


def test_verify_cached_refuses_long_token_unread(verifier: TokenVerifier) -> None:
    token = sign(KEY, "ES256", claims_of(verifier, extra="x" * MAX_TOKEN_BYTES))
    assert reason_for(verifier, token) == "malformed"


def test_verify_cached_refuses_deeply_nested_header(verifier: TokenVerifier) -> None:
    head = base64.urlsafe_b64encode(b"[" * 6000).decode()
    assert reason_for(verifier, f"{head}.e30.") == "malformed"


@given(text=st.text(st.characters()) | st.from_regex(r"\A[\w-]*\.[\w-]*\.[\w=-]*\Z"))
def test_verify_cached_refuses_any_text(verifier: TokenVerifier, text: str) -> None:
    assert reason_for(verifier, text) in {"malformed", "algorithm"}


@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "x"]),
        st.sampled_from(["ES256", "RS256", "none", "JWT", "one"]) | JSON,
    )
    | JSON,
    rest=st.from_regex(r"\A[\w-]*\.[\w-]*\Z"),
)
def test_verify_cached_refuses_any_header(
    verifier: TokenVerifier, header: object, rest: str
) -> None:
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode()
    with contextlib.suppress(CredentialsInvalidError):
        assert verifier.verify_cached(f"{head}.{rest}") is None, "the key is unknown"


@given(claims=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3))
def test_verify_cached_names_caller_or_refuses_when_claims_are_signed(
    verifier: TokenVerifier, claims: dict[str, Any]
) -> None:
    try:
        caller = verifier.verify_cached(sign(KEY, "ES256", {**claims_of(verifier), **claims}))
    except CredentialsInvalidError:
        return
    assert caller is not None
    assert 0 < len(caller.name) <= 128
    assert caller.name.isprintable()
    assert caller.scopes <= set(Scope)


@given(payload=JSON)
def test_verify_cached_refuses_payload_that_is_no_object(
    verifier: TokenVerifier, payload: object
) -> None:
    assert reason_for(verifier, sign(KEY, "ES256", payload)) == "malformed"


@pytest.mark.parametrize("package", ["jwt", "cryptography"])
def test_token_verifier_names_missing_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError, match=r"osteo-tiles\[access\]"):
        TokenVerifier("https://login.example", AUDIENCE, "scope", 5)


def test_verify_fetches_keys_without_start() -> None:
    with key_server() as server:
        server.publish([PUBLIC])
        verifier = TokenVerifier(server.issuer, AUDIENCE, "scope", 60, clock=time.time)
        token = sign(KEY, "ES256", claims_of(verifier, exp=time.time() + 60))
        assert asyncio.run(verifier.verify(token)).name == "scanner"
        server.answers.clear()
        with pytest.raises(IdentityProviderError):
            asyncio.run(verifier.verify(sign({**KEY, "kid": "two"}, "ES256", {})))
