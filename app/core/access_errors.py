"""Why a caller is refused; `app.core.errors` shows the whole tree."""

from __future__ import annotations

from app.core.errors import OsteoError, UnavailableError


class AccessError(OsteoError):
    """The caller may not do what the request asks for."""


class UnauthenticatedError(AccessError):
    """It is not known who calls.

    Attributes:
        reason: one of a few words, for metrics and the audit, such as `expired`.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class CredentialsMissingError(UnauthenticatedError, code="credentials-missing"):
    def __init__(self, ways: str) -> None:
        super().__init__("missing", f"The request does not say who calls. Send {ways}.")


class CredentialsInvalidError(UnauthenticatedError, code="credentials-invalid"):
    """The key, token or certificate is wrong; `reason` says in what way."""


class ScopeMissingError(AccessError, code="scope-missing"):
    def __init__(self, scope: str) -> None:
        self.scope = scope
        super().__init__(f"The caller does not have the scope {scope}, which this request needs.")


class RateLimitedError(UnavailableError, code="rate-limited"):
    def __init__(self, scope: str, limit: str, retry_after_s: int) -> None:
        self.scope, self.limit, self.retry_after_s = scope, limit, retry_after_s
        super().__init__(
            f"The caller has used up its limit of {limit} for {scope}. "
            f"Try again in {retry_after_s} s."
        )


class IdentityProviderError(UnavailableError, code="identity-provider-unavailable"):
    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(
            "The identity provider does not answer, so the key of this token could not be fetched. "
            f"Try again in {retry_after_s} s."
        )


class AuditUnavailableError(UnavailableError, code="audit-unavailable"):
    def __init__(self) -> None:
        self.retry_after_s = 1
        super().__init__(
            "The answer could not be recorded, and this service answers only what it has recorded. "
            f"Try again in {self.retry_after_s} s."
        )
