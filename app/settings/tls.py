"""Settings of TLS and of client certificates."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from app.settings.paths import FilePath


class TlsSettings(BaseSettings):
    """The server's certificate, and the authorities whose client certificates name a caller."""

    tls_certificate: FilePath | None = Field(
        default=None,
        description="PEM file of the server's certificate and its chain; the service then answers "
        "HTTPS only. SIGHUP reads it again.",
    )
    tls_key: FilePath | None = Field(
        default=None, description="PEM file of the private key of `OSTEO_TLS_CERTIFICATE`."
    )
    tls_client_ca: FilePath | None = Field(
        default=None,
        description="PEM file of the authorities whose client certificates identify a caller "
        "(mutual TLS).",
    )
    tls_client_scopes: str = Field(
        default="classify explain",
        description="Scopes of callers with a client certificate that no API key names, separated "
        "by spaces.",
    )

    @model_validator(mode="after")
    def _require_certificate_with_key(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            given, missing = "OSTEO_TLS_CERTIFICATE", "OSTEO_TLS_KEY"
            if self.tls_certificate is None:
                given, missing = missing, given
            raise ValueError(f"{given} is set, so {missing} must be set too")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError(
                "OSTEO_TLS_CLIENT_CA is set, so OSTEO_TLS_CERTIFICATE and OSTEO_TLS_KEY must be "
                "set too: client certificates are sent over TLS only"
            )
        return self
