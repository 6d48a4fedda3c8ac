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

    def admits_anybody(self, scope: Scope | None) -> bool:
        """Whether everybody may do what needs a scope, so that it does not matter who calls."""
        return not self.is_required and (scope is None or scope in OPEN_SCOPES)

    def identify(
        self, secret: str | None, certificate_subject: str | None, scope: Scope | None
    ) -> Caller | None:
        """Who calls, without waiting. Whether the caller has the scope: `require_scope`.

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
        if self.admits_anybody(scope):
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
            return self._find_by_secret(secret)
        if certificate_subject is not None and self._certificate_scopes is not None:
            named = self.keys.find_subject(certificate_subject)
            return named or Caller(certificate_subject, "certificate", self._certificate_scopes)
        raise CredentialsMissingError(self._ways())

    def _find_by_secret(self, secret: str) -> Caller | None:
        """Keys first: one that an operator has chosen may look like a token."""
        try:
            return self.keys.find(secret)
        except CredentialsInvalidError as error:
            is_token = secret.count(".") == _N_TOKEN_PARTS - 1
            if self.tokens is None or not is_token or error.reason != "unknown":
                raise
        return self.tokens.verify_cached(secret)

    def _ways(self) -> str:
        """How to say who calls, for a sentence that begins with Send."""
        bearer = ["API key"] if not self.keys.is_empty or self.tokens is None else []
        bearer += ["access token"] if self.tokens else []
        sent = f"an {' or '.join(bearer)} as Authorization: Bearer KEY"
        return sent if self._certificate_scopes is None else f"{sent}, or a client certificate"


def require_scope(caller: Caller, scope: Scope | None) -> None:
    """Refuse a caller that lacks a scope.

    Raises:
        ScopeMissingError: it does.
    """
    if scope is not None and scope not in caller.scopes:
        raise ScopeMissingError(scope)
