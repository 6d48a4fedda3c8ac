"""Settings that say who may call, and how often."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, PositiveFloat, SecretStr

from app.settings.paths import FilePath
from app.settings.tls import TlsSettings

MIN_SECRET_LENGTH: Final = 16


def default_state_dir() -> Path:
    """Where programs keep state that is not cache (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "osteo-tiles"


class AccessSettings(TlsSettings):
    """API keys, tokens of an identity provider, TLS and client certificates, rate limits."""

    auth: Literal["none"] | None = Field(
        default=None,
        description="`none` lets everybody call. If not set, callers need a key, a token or a "
        "certificate as soon as one of the three is configured, and the service does not start on "
        "an address other than loopback without one.",
    )
    state_dir: FilePath = Field(
        default_factory=default_state_dir,
        description="Folder for what the service keeps: API keys, the audit, slides and jobs.",
    )
    keys_file: FilePath | None = Field(
        default=None,
        description="File of API keys, which `osteo keys` writes; `keys.json` in "
        "`OSTEO_STATE_DIR` if not set.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        min_length=MIN_SECRET_LENGTH,
        description="An API key in addition to those of the file, with every scope except "
        "`models:write` and `audit:read`.",
    )
    create_first_key: bool = Field(
        default=False,
        description="If no caller is configured, create an API key at start and print it once.",
    )
    admin_token: SecretStr | None = Field(
        default=None,
        min_length=MIN_SECRET_LENGTH,
        description="Deprecated; create a key with the scope `models:write` instead. An API key "
        "with this scope only.",
    )
    metrics_open: bool = Field(
        default=False, description="Answer `/metrics` without a caller's key, token or certificate."
    )
    docs_open: bool = Field(
        default=False,
        description="Answer `/`, `/docs`, `/openapi.json` and `/problems` without a caller's key, "
        "token or certificate.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s?#]+$",
        description="URL of the OpenID Connect provider whose bearer tokens are accepted, as in "
        "the tokens' claim `iss`.",
    )
    oidc_audience: str | None = Field(
        default=None,
        description="What the tokens' claim `aud` must contain; required with `OSTEO_OIDC_ISSUER`.",
    )
    oidc_scopes_claim: str = Field(
        default="scope",
        description="Claim of a token that lists its scopes, separated by spaces or as a list.",
    )
    oidc_timeout_s: PositiveFloat = Field(
        default=5.0, description="Seconds in which the identity provider must answer."
    )
    rate_limits: str | None = Field(
        default=None,
        description="Requests that each caller may send, by scope, such as "
        "`classify=600/minute,explain=60/minute`. No limit if not set.",
    )
    rate_limit_url: SecretStr | None = Field(
        default=None,
        description="Redis in which replicas count together, such as `redis://redis:6379/0`; every "
        "replica counts for itself if not set.",
    )
