"""Which keys verify tokens, and how often a provider is asked for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from app.access.identity_provider import IdentityDocumentError, IdentityProvider
from app.access.json_web_key import ALGORITHMS, read_signing_key
from app.access.signing_keys import SigningKeys
from app.core.access_errors import IdentityProviderError

RSA: Final = {**RSAAlgorithm.to_jwk(generate_private_key(65537, 2048).public_key(), as_dict=True)}
P256: Final = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
"""RFC 7515, appendix A.3."""
ED25519: Final = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
"""RFC 8037, appendix A.2."""
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def algorithms_of(document: dict[str, Any]) -> set[str]:
    key = read_signing_key(document)
    return set(key.algorithms) if key else set()


@pytest.mark.parametrize(
    ("document", "algorithms"),
    [
        (RSA, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        ({**RSA, "alg": "PS384"}, {"PS384"}),
        ({**RSA, "use": "sig", "key_ops": ["sign"]}, {"PS256", "RS256"}),
        (P256, {"ES256"}),
        (ED25519, {"EdDSA"}),
    ],
)
def test_read_signing_key_takes_what_fits_the_type(
    document: dict[str, Any], algorithms: set[str]
) -> None:
    assert algorithms_of(document) >= algorithms
    assert len(algorithms_of(document)) in {1, 6}


@pytest.mark.parametrize(
    "document",
    [
        {**RSA, "use": "enc"},
        {**RSA, "alg": "RSA-OAEP"},
        {**RSA, "alg": "HS256"},
        {**RSA, "alg": "none"},
        {**RSA, "alg": ["RS256"]},
        {**RSA, "d": "AQAB"},
        {**RSA, "n": 5},
        {**P256, "alg": "ES384"},
        {**P256, "crv": "P-384"},
        {**P256, "crv": "secp256k1"},
        {**P256, "crv": ["P-256"]},
        {**ED25519, "crv": "X25519"},
        {**ED25519, "kty": "EC"},
        {**ED25519, "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"},
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        {"kty": "RSA"},
        {},
        {**RSA, "n": RSA["n"][:171]},  # 1026 bits
    ],
)
def test_read_signing_key_leaves_out(document: dict[str, Any]) -> None:
    assert read_signing_key(document) is None


@given(
    st.sampled_from([RSA, P256, ED25519]),
    st.dictionaries(
        st.sampled_from(["kty", "crv", "alg", "use", "kid", "n", "e", "x", "y"]), JSON, max_size=4
    ),
)
def test_read_signing_key_never_fails(document: dict[str, Any], changes: dict[str, Any]) -> None:
    key = read_signing_key({**document, **changes})
    assert key is None or key.algorithms <= ALGORITHMS


class FakeProvider(IdentityProvider):
    """Answers with keys, or with an error, without a network."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [{**RSA, "kid": "known"}]
        self.error: str | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()

    def fetch_keys(self) -> list[dict[str, Any]]:
        self.may_answer.wait()
        if self.error:
            raise IdentityDocumentError(self.error)
        return self.keys


class Watched:
    """Signing keys with a clock that the test sets."""

    def __init__(self) -> None:
        self.provider = FakeProvider()
        self.now = 0.0
        self.n_changes = 0
        self.keys = SigningKeys(
            self.provider, 60, self._count, refresh_s=300, monotonic=lambda: self.now
        )

    def _count(self) -> None:
        self.n_changes += 1


def run(scenario: Callable[[Watched], Awaitable[None]]) -> Watched:
    watched = Watched()

    async def whole() -> None:
        await scenario(watched)
        await watched.keys.close()

    asyncio.run(whole())
    return watched


def test_unknown_keys_cannot_make_many_fetches() -> None:
    async def scenario(watched: Watched) -> None:
        for number in range(100):
            await watched.keys.fetch_for(f"unknown-{number}")
        assert watched.keys.n_fetches == 3
        watched.now += 3
        for number in range(100):
            await watched.keys.fetch_for(f"unknown-{number}")
        assert watched.keys.n_fetches == 4

    run(scenario)


def test_missing_key_is_asked_for_again_after_seconds() -> None:
    async def scenario(watched: Watched) -> None:
        for _ in range(100):
            await watched.keys.fetch_for("new")
        assert watched.keys.n_fetches == 1
        watched.provider.keys.append({**RSA, "kid": "new"})
        watched.now += 3
        await watched.keys.fetch_for("new")
        assert watched.keys.find("new")

    run(scenario)


def test_fetch_that_others_began_does_not_make_key_missing() -> None:
    async def scenario(watched: Watched) -> None:
        watched.provider.may_answer.clear()
        first = asyncio.create_task(watched.keys.fetch_for("unknown"))
        await asyncio.sleep(0)
        second = asyncio.create_task(watched.keys.fetch_for("new"))
        await asyncio.sleep(0)
        watched.provider.may_answer.set()
        await asyncio.gather(first, second)
        assert watched.keys.n_fetches == 1
        watched.provider.keys = [{**RSA, "kid": "new"}]
        await watched.keys.fetch_for("new")
        assert watched.keys.find("new")

    run(scenario)


def test_cancelled_request_does_not_cancel_fetch_of_others() -> None:
    async def scenario(watched: Watched) -> None:
        watched.provider.may_answer.clear()
        first, second = (asyncio.create_task(watched.keys.fetch_for("known")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        watched.provider.may_answer.set()
        await second
        assert watched.keys.find("known")

    run(scenario)


def test_limit_on_fetches_holds_while_provider_is_away() -> None:
    async def scenario(watched: Watched) -> None:
        watched.provider.error = "away"
        for number in range(100):
            with pytest.raises(IdentityProviderError):
                await watched.keys.fetch_for(f"unknown-{number}")
        assert watched.keys.n_fetches == watched.keys.n_failed_fetches == 3

    run(scenario)


def test_keys_stay_when_provider_publishes_none() -> None:
    async def scenario(watched: Watched) -> None:
        await watched.keys.fetch_for("known")
        watched.provider.keys = [{**RSA, "use": "enc"}]
        with pytest.raises(IdentityProviderError):
            await watched.keys.fetch_for("unknown")
        assert watched.keys.find("known")

    assert run(scenario).n_changes == 1


def test_fetch_of_same_keys_is_no_change() -> None:
    async def scenario(watched: Watched) -> None:
        await watched.keys.fetch_for("known")
        watched.now = 10
        await watched.keys.fetch_for("unknown")
        assert watched.keys.age_s == 0
        assert watched.keys.n_fetches == 2

    assert run(scenario).n_changes == 1


def test_memory_of_missing_keys_is_bounded() -> None:
    async def scenario(watched: Watched) -> None:
        for number in range(300):
            watched.now += 3
            await watched.keys.fetch_for(f"unknown-{number}")
        assert watched.keys.n_fetches == 300
        assert len(watched.keys._missing) == 256

    run(scenario)


def test_close_does_not_wait_for_provider() -> None:
    async def scenario(watched: Watched) -> None:
        watched.provider.may_answer.clear()
        await watched.keys.start()
        waiting = asyncio.create_task(watched.keys.fetch_for("known"))
        await asyncio.sleep(0)
        await watched.keys.close()
        with pytest.raises(IdentityProviderError):
            await waiting

    run(scenario).provider.may_answer.set()


def test_fetch_fails_when_answer_causes_unexpected_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: logged.set())

    async def scenario(watched: Watched) -> None:
        watched.provider.keys = [None]  # type: ignore[list-item] # what nobody has thought of
        with pytest.raises(IdentityProviderError):
            await watched.keys.fetch_for("known")
        assert watched.keys.n_failed_fetches == 1

    run(scenario)
    logged.wait()


def test_fetch_fails_when_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scenario(watched: Watched) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            with pytest.raises(IdentityProviderError):
                await watched.keys.fetch_for("known")
        await watched.keys.fetch_for("known")
        assert watched.keys.find("known")

    run(scenario)
