"""A real provider rotates its keys, goes away and comes back while tokens are verified."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest

from app.access.signing_keys import REFRESH_S
from app.access.tokens import TokenVerifier
from app.core.access_errors import CredentialsInvalidError, IdentityProviderError
from tests.access.oidc.provider import AUDIENCE, Provider, new_rsa_key
from tests.clients.tools import Tools


@pytest.fixture
def provider(node: Tools, tmp_path: Path) -> Iterator[Provider]:
    """A provider that is not running yet."""
    provider = Provider(node, tmp_path)
    yield provider
    provider.kill()


@asynccontextmanager
async def started_verifier(
    provider: Provider, refresh_s: float = REFRESH_S
) -> AsyncIterator[TokenVerifier]:
    verifier = TokenVerifier(provider.issuer, AUDIENCE, "scope", 60, refresh_s=refresh_s)
    await verifier.start()
    try:
        yield verifier
    finally:
        await verifier.close()


async def wait_for(condition: Callable[[], bool]) -> None:
    """Let the verifier work until something is true, which takes seconds on a quiet machine."""
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - nothing tells that keys have changed
            await asyncio.sleep(0.01)


async def reason_when_provider_answers(verifier: TokenVerifier, token: str) -> str:
    """Why a token is refused; asks again while the answer is that the provider is away."""
    async with asyncio.timeout(120):
        while True:
            try:
                await verifier.verify(token)
            except IdentityProviderError:
                await asyncio.sleep(0.01)
            except CredentialsInvalidError as error:
                return error.reason


def with_other_name(token: str) -> str:
    """A token with the claims of another one, and a key that no provider publishes."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    key = jwt.PyJWK(new_rsa_key(), algorithm="RS256").key
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "unpublished"})


def test_new_key_is_accepted_with_one_fetch_for_many_requests(provider: Provider) -> None:
    async def scenario() -> None:
        provider.start()
        async with started_verifier(provider) as verifier:
            old = provider.token()
            await verifier.verify(old)
            assert verifier.n_fetches == 1
            provider.change_keys(add="rsa-2")
            tokens = [provider.token() for _ in range(8)]
            assert {jwt.get_unverified_header(token)["kid"] for token in tokens} == {"rsa-2"}
            assert {verifier.verify_cached(token) for token in tokens} == {None}
            callers = await asyncio.gather(*(verifier.verify(token) for token in tokens * 8))
            assert {caller.name for caller in callers} == {"scanner"}
            assert verifier.n_fetches == 2
            assert verifier.verify_cached(old) is not None

    asyncio.run(scenario())


def test_removed_key_is_refused_after_refresh(provider: Provider) -> None:
    async def scenario() -> None:
        provider.start()
        async with started_verifier(provider, refresh_s=0.05) as verifier:
            cached, fresh = provider.token(), provider.token()
            await verifier.verify(cached)
            provider.change_keys(add="rsa-2", remove="rsa-1")
            await wait_for(lambda: verifier.verify_cached(cached) is None)
            for token in (cached, fresh):
                with pytest.raises(CredentialsInvalidError) as caught:
                    await verifier.verify(token)
                assert caught.value.reason == "unknown-key"
            assert (await verifier.verify(provider.token())).name == "scanner"

    asyncio.run(scenario())


def test_known_keys_outlive_provider_and_unknown_ones_wait_for_it(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        provider.start()
        async with started_verifier(provider, refresh_s=0.05) as verifier:
            cached, fresh = provider.token(), provider.token()
            await verifier.verify(cached)
            unknown = with_other_name(fresh)
            provider.kill()
            await wait_for(lambda: verifier.n_failed_fetches > 0)
            # Failed refreshes must not forget keys.
            assert verifier.verify_cached(cached) is not None
            assert verifier.verify_cached(fresh) is not None
            with pytest.raises(IdentityProviderError) as caught:
                await verifier.verify(unknown)
            assert caught.value.retry_after_s > 0
            provider.start()
            assert await reason_when_provider_answers(verifier, unknown) == "unknown-key"

    asyncio.run(scenario())
    assert "identity_provider_failed" in caplog.messages


def test_start_does_not_need_the_provider(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="osteo")

    async def scenario() -> None:
        provider.start()
        token = provider.token()
        provider.kill()
        async with started_verifier(provider) as verifier:
            with pytest.raises(IdentityProviderError):
                await verifier.verify(token)
            assert verifier.last_fetch_age_s is None
            provider.start()
            # Nobody asks again: the background fetch is repeated.
            await wait_for(lambda: verifier.verify_cached(token) is not None)
            assert verifier.last_fetch_age_s is not None
            assert verifier.n_fetches > verifier.n_failed_fetches > 0

    asyncio.run(scenario())
    assert "signing_keys_changed" in caplog.messages
    assert not any("eyJ" in str(vars(record)) for record in caplog.records), "parts of a token"
