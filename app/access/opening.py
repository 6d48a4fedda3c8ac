"""Open access control from the settings, and refuse to be open to a network by accident."""

from __future__ import annotations

import logging
from typing import Final

from app.access.api_keys import ApiKeys, GivenKey
from app.access.authenticator import Authenticator
from app.access.caller import OPEN_SCOPES, Scope, parse_scopes
from app.access.key_changes import RecordChange, create_first_key
from app.access.key_file import keys_path
from app.access.rate_limits import RateLimits
from app.access.tokens import TokenVerifier
from app.core.errors import SettingsError
from app.settings import Settings
from app.settings.hosts import is_loopback
from app.telemetry.logs import LOGGER_NAME

_EXPOSED: Final = (
    "OSTEO_HOST is {host}, so that other machines can call, but nothing says who may. Choose one: "
    "create an API key with `osteo keys create NAME --scope classify`; accept the tokens of an "
    "identity provider with OSTEO_OIDC_ISSUER and OSTEO_OIDC_AUDIENCE; or accept client "
    "certificates with OSTEO_TLS_CLIENT_CA. OSTEO_AUTH=none lets everybody call (docs/access.md)."
)
_logger = logging.getLogger(LOGGER_NAME)


def open_access(settings: Settings) -> Authenticator:
    """The ways of identifying a caller that the settings configure.

    Raises:
        SettingsError: the service would be open to other machines, or a setting is wrong.
    """
    keys = ApiKeys(keys_path(settings), _given_keys(settings))
    tokens = _open_tokens(settings)
    has_certificates = settings.tls_client_ca is not None
    is_configured = has_keys(settings) or tokens is not None or has_certificates
    if settings.auth == "none" and is_configured:
        raise SettingsError(
            "OSTEO_AUTH=none lets everybody call, but keys, an identity provider or client "
            "certificates are configured. Remove one or the other."
        )
    if not is_configured and settings.auth != "none" and not is_loopback(settings.host):
        raise SettingsError(_EXPOSED.format(host=settings.host))
    if not is_configured:
        level = logging.INFO if is_loopback(settings.host) else logging.WARNING
        _logger.log(level, "open_to_everybody", extra={"host": settings.host})
    if is_configured and keys.is_empty and tokens is None and not has_certificates:
        _logger.warning("no_usable_key", extra={"file": str(keys_path(settings))})
    certificate_scopes = _certificate_scopes(settings) if has_certificates else None
    return Authenticator(keys, tokens, certificate_scopes, is_required=is_configured)


def has_keys(settings: Settings) -> bool:
    """Whether callers are identified by API keys, even if the file has none yet."""
    if settings.keys_file is not None or settings.api_key is not None:
        return True
    try:
        return keys_path(settings).exists()
    except OSError:  # a folder that this user may not enter; reading the file says so
        return True


def open_first_key(settings: Settings, record_change: RecordChange) -> str | None:
    """Create the first key of a service for which no caller is configured, if it is to have one.

    Args:
        settings: of the service.
        record_change: is given the change before it is made; what it raises is passed on.

    Returns:
        The key; None if there is nothing to create.

    Raises:
        SettingsError: the file of keys cannot be written, or a rate limit is wrong: a start that
            would fail anyway makes no key.
    """
    is_configured = has_keys(settings) or settings.oidc_issuer or settings.tls_client_ca
    if not settings.create_first_key or is_configured or settings.auth == "none":
        return None
    open_rate_limits(settings)
    return create_first_key(keys_path(settings), record_change)


def open_rate_limits(settings: Settings) -> RateLimits:
    """The rate limits of the settings.

    Raises:
        SettingsError: a limit is wrong, or the package that counts is missing.
    """
    url = settings.rate_limit_url
    return RateLimits.parse(settings.rate_limits, url.get_secret_value() if url else None)


def _open_tokens(settings: Settings) -> TokenVerifier | None:
    if settings.oidc_issuer is None:
        return None
    if settings.oidc_audience is None:
        raise SettingsError(
            "OSTEO_OIDC_ISSUER needs OSTEO_OIDC_AUDIENCE: without it, tokens that the identity "
            "provider made for other services would be accepted."
        )
    return TokenVerifier(
        settings.oidc_issuer,
        settings.oidc_audience,
        settings.oidc_scopes_claim,
        settings.oidc_timeout_s,
    )


def _certificate_scopes(settings: Settings) -> frozenset[Scope]:
    unknown = set(settings.tls_client_scopes.split()) - set(Scope)
    if unknown:
        raise SettingsError(
            f"OSTEO_TLS_CLIENT_SCOPES: {min(unknown)!r} is not a scope; the scopes are "
            f"{', '.join(Scope)}."
        )
    return parse_scopes(settings.tls_client_scopes)


def _given_keys(settings: Settings) -> list[GivenKey]:
    given = []
    if settings.api_key is not None:
        given.append(GivenKey("OSTEO_API_KEY", settings.api_key, OPEN_SCOPES))
    if settings.admin_token is not None:
        _logger.warning(
            "deprecated_setting",
            extra={
                "setting": "OSTEO_ADMIN_TOKEN",
                "instead": "osteo keys create --scope models:write",
            },
        )
        given.append(
            GivenKey("OSTEO_ADMIN_TOKEN", settings.admin_token, frozenset({Scope.MODELS_WRITE}))
        )
    return given
