"""Fetch the signing keys of an OpenID Connect provider over HTTP."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from typing import IO, Any, Final
from urllib.parse import urlsplit

from app.core.errors import SettingsError
from app.settings.hosts import is_loopback
from app.telemetry.tracing import calling

_DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
"""OpenID Connect Discovery 1.0, section 4."""
_MAX_DOCUMENT_BYTES: Final = 1 << 20
"""Large providers publish about 64 kB."""
_CHUNK_BYTES: Final = 1 << 16
_HEADERS: Final = {"Accept": "application/json", "User-Agent": "osteo-tiles"}


class IdentityDocumentError(Exception):
    """The provider's answer cannot be used; the message says why and goes to the log only."""


class IdentityProvider:
    """The provider's two documents: its configuration, and the keys that sign its tokens.

    Certificates are verified with the authorities of the system, or with those of the file that
    the environment variable SSL_CERT_FILE names. HTTPS_PROXY and NO_PROXY are honoured.

    Args:
        issuer: URL of the provider, as in its tokens.
        timeout_s: time in which both documents must have arrived.

    Raises:
        SettingsError: the URL is neither HTTPS nor on the loopback address.
    """

    def __init__(self, issuer: str, timeout_s: float) -> None:
        if not _is_protected(issuer):
            raise SettingsError(
                f"The identity provider {issuer!r} is not reached through HTTPS, so anybody on the "
                "way could send keys of their own. Set OSTEO_OIDC_ISSUER to an https:// URL; "
                "http:// is accepted for 127.0.0.1, [::1] and localhost only."
            )
        self._issuer = issuer
        self._timeout_s = timeout_s
        # Plain HTTP goes to the loopback address only, which no proxy can reach.
        proxies = {k: url for k, url in urllib.request.getproxies().items() if k != "http"}
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies),
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
            _SameOriginRedirects,
        )

    def fetch_keys(self) -> list[dict[str, Any]]:
        """Fetch the configuration and then the keys; blocks.

        Returns:
            The members of the JWK Set (RFC 7517), not yet checked.

        Raises:
            IdentityDocumentError: the provider did not answer in time, or not with these documents.
        """
        deadline = time.monotonic() + self._timeout_s
        # The terminating slash of an issuer does not belong to this URL: section 4.1.
        configuration = self._fetch(self._issuer.rstrip("/") + _DISCOVERY_PATH, deadline)
        if configuration.get("issuer") != self._issuer:
            raise IdentityDocumentError(
                "the provider's configuration names another issuer than OSTEO_OIDC_ISSUER"
            )
        jwks_uri = configuration.get("jwks_uri")
        if not isinstance(jwks_uri, str) or not _is_protected(jwks_uri):
            raise IdentityDocumentError("the provider's configuration has no jwks_uri with HTTPS")
        keys = self._fetch(jwks_uri, deadline).get("keys")
        if not isinstance(keys, list):
            raise IdentityDocumentError("the provider's key document has no list of keys")
        return [key for key in keys if isinstance(key, dict)]

    def _fetch(self, url: str, deadline: float) -> dict[str, Any]:
        try:
            with calling("identity provider") as trace_headers:
                headers = {**_HEADERS, **trace_headers}
                request = urllib.request.Request(url, headers=headers)  # noqa: S310 - see _is_protected
                with self._opener.open(request, timeout=_remaining_s(deadline)) as answer:
                    content = _read(answer, deadline)
        except urllib.error.HTTPError as error:
            error.close()
            raise IdentityDocumentError(f"the provider answered with status {error.code}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a host name
            raise IdentityDocumentError(f"the provider did not answer: {error}") from error
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            raise IdentityDocumentError("the provider's answer is not JSON") from None
        if not isinstance(document, dict):
            raise IdentityDocumentError("the provider's answer is not a JSON object")
        return document


def _read(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """Read in parts: the timeout of a socket starts again with every byte that arrives."""
    content = b""
    while part := answer.read1(_CHUNK_BYTES):
        content += part
        if len(content) > _MAX_DOCUMENT_BYTES:
            raise IdentityDocumentError(
                f"the provider's answer is larger than {_MAX_DOCUMENT_BYTES} bytes"
            )
        _remaining_s(deadline)
    return content


def _remaining_s(deadline: float) -> float:
    remaining_s = deadline - time.monotonic()
    if remaining_s <= 0:
        raise IdentityDocumentError("the provider's answer did not arrive in time")
    return remaining_s


class _SameOriginRedirects(urllib.request.HTTPRedirectHandler):
    """Another host would be trusted with the keys although no setting names it."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            fp.close()
            raise IdentityDocumentError("the provider redirected to another host")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_protected(url: str) -> bool:
    """Whether nobody between this service and the host of the URL can change the answer."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:  # an invalid IPv6 address
        return False
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "http" and is_loopback(host)
