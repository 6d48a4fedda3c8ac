"""What the verified claims of a token say, and why a token is refused."""

from __future__ import annotations

import hashlib
from typing import Any, Final, NoReturn

from app.access.caller import Caller, parse_scopes
from app.core.access_errors import CredentialsInvalidError

LEEWAY_S: Final = 30
"""How far the provider's clock and this machine's may differ."""
_MAX_NAME: Final = 128
_DIGEST_LENGTH: Final = 16
_MESSAGES: Final = {
    "malformed": "is not a JSON Web Token of at most 8 kB",
    "algorithm": "is not signed with an algorithm that fits the provider's key",
    "signature": "has a wrong signature",
    "unknown-key": "is signed with a key that the identity provider does not publish",
    "expired": "has expired",
    "not-yet-valid": "is not valid yet",
    "issuer": "was issued by another provider",
    "audience": "was issued for another service",
    "claims": "lacks a claim, or has a wrong one: exp and sub or client_id are needed, and a token "
    "that is bound to a key of its holder (cnf) is not accepted",
}


def refuse(reason: str) -> NoReturn:
    """Refuse a token, for one of the reasons of `TokenVerifier.verify_cached`.

    Raises:
        CredentialsInvalidError: always; it holds nothing of the token.
    """
    raise CredentialsInvalidError(reason, f"The bearer token {_MESSAGES[reason]}.")


def check_times(claims: dict[str, Any], now: float) -> float:
    """Check `exp`, `nbf` and `iat` (RFC 7519, section 4.1).

    Args:
        claims: of a token whose signature has been verified.
        now: seconds since 1970.

    Returns:
        When the token stops being accepted, in seconds since 1970.

    Raises:
        CredentialsInvalidError: `expired`, `not-yet-valid`, or `claims` if one is missing or wrong.
    """
    if "exp" not in claims:
        refuse("claims")
    expires_at = _time_in(claims, "exp", now) + LEEWAY_S
    if now >= expires_at:
        refuse("expired")
    if max(_time_in(claims, "nbf", now), _time_in(claims, "iat", now)) > now + LEEWAY_S:
        refuse("not-yet-valid")
    return expires_at


def caller_of(claims: dict[str, Any], scopes_claim: str) -> Caller:
    """Who sends a token.

    A token that is bound to a key of its holder (`cnf`: RFC 8705, RFC 9449) is refused, since this
    service would accept it from a thief too.

    Raises:
        CredentialsInvalidError: `claims`: it names nobody, or is bound.
    """
    if "cnf" in claims:
        refuse("claims")
    listed = claims.get(scopes_claim)
    scopes = parse_scopes(listed) if isinstance(listed, str | list) else frozenset()
    return Caller(_name_in(claims), "token", scopes)


def _time_in(claims: dict[str, Any], claim: str, default: float) -> float:
    """A NumericDate of RFC 7519, in seconds; the default if the claim is missing."""
    if claim not in claims:
        return default
    value = claims[claim]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        refuse("claims")
    return float(value)


def _name_in(claims: dict[str, Any]) -> str:
    """Name of the caller, in at most 128 printable characters."""
    names = (claims.get(claim) for claim in ("sub", "client_id", "azp"))
    name = next((name for name in names if isinstance(name, str) and name), None)
    if name is None:
        refuse("claims")
    if len(name) <= _MAX_NAME and name.isprintable():
        return name
    # Names that differ only in what is left out here stay different callers.
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    kept = "".join(c if c.isprintable() else "?" for c in name[: _MAX_NAME - _DIGEST_LENGTH - 1])
    return f"{kept}~{digest}"
