"""Decide on the headers of a request who calls, whether it may, and how often.

The connection asks before the body is read and before the queue (`load_shedding`); the middleware
asks for every other request, and for those whose answer takes an identity provider, a Redis or a
pause.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access.authenticator import Authenticator, require_scope
from app.access.caller import Caller
from app.access.caller import Scope as AccessScope
from app.access.failed_attempts import FailedAttempts
from app.access.rate_limits import RateLimits
from app.api.problems import problem_response
from app.api.request_context import RequestContext, request_context
from app.api.route_scopes import is_open, required_scope
from app.core.access_errors import (
    AccessError,
    CredentialsInvalidError,
    RateLimitedError,
    UnauthenticatedError,
)
from app.core.errors import OsteoError, UnavailableError
from app.settings import Settings
from app.telemetry.metrics import Metrics

API_KEY_HEADER: Final = "X-API-Key"
RATE_LIMITED_DELAY_S: Final = 0.5
"""A caller that has used up its limit is answered late, so that it cannot ask all the time. A pause
after the answer would delay the callers with whom it shares the connections of an ingress."""


class AccessControl:
    """Judges the requests of a service; used from the event loop only."""

    def __init__(
        self,
        authenticator: Authenticator,
        rate_limits: RateLimits,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        """Start without a failed attempt."""
        self.authenticator = authenticator
        self._rate_limits = rate_limits
        self._open_kinds = frozenset(
            kind
            for kind, is_kind_open in (
                ("metrics", settings.metrics_open),
                ("docs", settings.docs_open),
            )
            if is_kind_open
        )
        self._metrics = metrics
        self._failed_attempts = FailedAttempts()

    def admit(self, scope: Scope) -> bool:
        """Judge a request without waiting; its context gets the caller.

        Args:
            scope: of the request, with a path without escapes.

        Returns:
            True if it may go on; False if that takes waiting: call `admit_slowly`.

        Raises:
            AccessError: the caller is unknown or lacks the scope.
            RateLimitedError: it has used up its limit.
        """
        context = request_context(scope)
        if context.is_admitted or is_open(scope["path"], self._open_kinds):
            return True
        needed = _needed(scope)
        try:
            # Where anybody may call, a header that a proxy adds for itself must not matter.
            secret = None if self.authenticator.admits_anybody(needed) else _secret(scope)
            caller = self.authenticator.identify(secret, context.certificate_subject, needed)
            if caller is None:
                return False
            context.caller = caller  # also of a refusal, whose log line and record name it
            require_scope(caller, needed)
            if self._rate_limits.is_shared:
                return False
            if needed is not None:
                context.allowance = self._rate_limits.take(caller, needed)
        except (AccessError, UnavailableError) as error:
            self._note_refusal(scope, context, error)
            raise
        context.is_admitted = True
        return True

    async def admit_slowly(self, scope: Scope) -> None:
        """Judge a request for which `admit` returned False.

        Raises:
            AccessError: the caller is unknown or lacks the scope.
            RateLimitedError: it has used up its limit.
            IdentityProviderError: the key of its token cannot be fetched.
        """
        context = request_context(scope)
        needed = _needed(scope)
        try:
            caller: Caller | None = context.caller
            if caller is None:
                caller = await self.authenticator.identify_by_fetch(_secret(scope) or "")
                context.caller = caller
                require_scope(caller, needed)
            if needed is not None and self._rate_limits.is_shared:
                context.allowance = await self._rate_limits.take_shared(caller, needed)
            elif needed is not None:
                context.allowance = self._rate_limits.take(caller, needed)
        except (AccessError, UnavailableError) as error:
            self._note_refusal(scope, context, error)
            raise
        context.is_admitted = True

    def _note_refusal(self, scope: Scope, context: RequestContext, error: OsteoError) -> None:
        """Count a refusal, and delay the answers to an address that keeps failing."""
        if isinstance(error, RateLimitedError):
            context.allowance = self._rate_limits.refused(error)
            context.refusal_delay_s = RATE_LIMITED_DELAY_S
        reason = error.reason if isinstance(error, UnauthenticatedError) else error.code
        self._metrics.access_refusals.labels(reason).inc()
        context.refusal_reason = context.log_fields["refused"] = reason
        if isinstance(error, UnauthenticatedError):
            client = scope.get("client")
            context.refusal_delay_s = self._failed_attempts.delay_s(client[0] if client else None)


class RequireCaller:
    """ASGI middleware: a request reaches a route only if its caller may send it."""

    def __init__(self, app: ASGIApp, access: AccessControl) -> None:
        """Wrap an ASGI application."""
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if not self._access.admit(scope):
                await self._access.admit_slowly(scope)
        except (AccessError, UnavailableError) as error:
            await asyncio.sleep(request_context(scope).refusal_delay_s)
            await problem_response(scope, error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _needed(scope: Scope) -> AccessScope | None:
    return required_scope(scope["method"], scope["path"], scope["query_string"])


def _secret(scope: Scope) -> str | None:
    """The API key or token of a request; None if it has none.

    Raises:
        CredentialsInvalidError: it has several, or another scheme than Bearer.
    """
    headers = Headers(scope=scope)
    keys, authorizations = headers.getlist(API_KEY_HEADER), headers.getlist("authorization")
    if len(keys) + len(authorizations) > 1:
        raise CredentialsInvalidError("several", "Send one API key or token, not several.")
    if keys:
        return keys[0].strip()
    if not authorizations:
        return None
    scheme, _, secret = authorizations[0].strip().partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise CredentialsInvalidError(
            "scheme", "Send the header as Authorization: Bearer KEY, with an API key or token."
        )
    return secret.strip()
