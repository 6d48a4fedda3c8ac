"""The header that tells browsers to come back over HTTPS only (RFC 6797)."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import Scope

STRICT_TRANSPORT_SECURITY: Final = "max-age=31536000"  # a year of seconds


def add_transport_security(scope: Scope, headers: MutableHeaders) -> None:
    """Add the header to an answer over TLS; RFC 6797 (7.2) forbids it without."""
    if scope["scheme"] == "https":
        headers["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY
