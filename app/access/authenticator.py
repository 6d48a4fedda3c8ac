"""Identify the caller of a request by its API key, its token or its certificate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.access.api_keys import ApiKeys
from app.access.caller import ANONYMOUS, OPEN_SCOPES, Caller, Scope
from app.access.tokens import TokenVerifier
from app.core.access_errors import (
    CredentialsInvalidError,
    CredentialsMissingError,
    ScopeMissingError,
)

_N_TOKEN_PARTS = 3  # RFC 7519: header, claims and signature


class Authenticator:
    """The ways of identifying a caller that are configured."""

    def __init__(
        self,
        keys: ApiKeys,
        tokens: TokenVerifier | None = None,
        certificate_scopes: frozenset[Scope] | None = None,
        *,
        is_required: bool,
    ) -> None:
        """Use the configured ways.

        Args:
            keys: API keys; they also name certificates.
            tokens: verifies tokens of an identity provider, if there is one.
            certificate_scopes: scopes of certificates that no key names; None without mutual TLS.
            is_required: whether everybody must be identified. If not, `OPEN_SCOPES` are for all.
        """
        self.keys = keys
        self.tokens = tokens
        self._certificate_scopes = certificate_scopes
        self.is_required = is_required

    def identify(
        self, secret: str | None, certificate_subject: str | None, scope: Scope | None
    ) -> Caller | None:
        """Who calls, without waiting; `require_scope` then tells whether that caller may.

        Args:
            secret: the API key or token of the request.
            certificate_subject: of the client certificate of the connection.
            scope: what the request needs; None if any caller may send it.

        Returns:
            The caller; None if a token's signing key must be fetched first: `identify_by_fetch`.

        Raises:
            CredentialsMissingError: the request says nothing about who calls.
            CredentialsInvalidError: the key or token is wrong.
        """
        if not self.is_required and (scope is None or scope in OPEN_SCOPES):
            return ANONYMOUS
        return self._find(secret, certificate_subject)

    async def identify_by_fetch(self, token: str) -> Caller:
        """Who sends a token whose signing key is not known yet.

        Raises:
            CredentialsInvalidError: the token is wrong.
            IdentityProviderError: the identity provider is away.
        """
        if self.tokens is None:
            raise CredentialsInvalidError("unknown", "No identity provider is configured.")
        return await self.tokens.verify(token)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the identity provider's keys up to date meanwhile."""
        if self.tokens is None:
            yield
            return
        await self.tokens.start()
        try:
            yield
        finally:
            await self.tokens.close()

    def _find(self, secret: str | None, certificate_subject: str | None) -> Caller | None:
        if secret is not None:
            is_token = self.tokens is not None and secret.count(".") == _N_TOKEN_PARTS - 1
            if is_token and self.tokens is not None:
                return self.tokens.verify_cached(secret)
            return self.keys.find(secret)
        if certificate_subject is not None and self._certificate_scopes is not None:
            named = self.keys.find_subject(certificate_subject)
            return named or Caller(certificate_subject, "certificate", self._certificate_scopes)
        raise CredentialsMissingError(self._ways())

    def _ways(self) -> str:
        """How to say who calls, for a sentence."""
        bearer = ["API key"] if not self.keys.is_empty or self.tokens is None else []
        bearer += ["access token"] if self.tokens else []
        ways = [f"an {' or '.join(bearer)} in the header Authorization: Bearer"]
        if self._certificate_scopes is not None:
            ways.append("a client certificate")
        return " or ".join(ways)


def require_scope(caller: Caller, scope: Scope | None) -> None:
    """Check that a caller may do what needs a scope.

    Raises:
        ScopeMissingError: it may not.
    """
    if scope is not None and scope not in caller.scopes:
        raise ScopeMissingError(scope)
