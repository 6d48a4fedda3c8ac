"""Checks of a request's headers that the parser leaves to the server (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import httptools

_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")  # RFC 3986, 3.2.2 and 3.2.3
_BLANKS: Final = b" \t"
_UPGRADE_OFFER: Final = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


def find_fault(
    headers: Sequence[tuple[bytes, bytes]], http_version: str, target: bytes = b"/"
) -> str | None:
    """Why a request must be refused with 400; None if its head is acceptable.

    Two servers that disagree about the host or the end of a request can be made to disagree about
    whose request comes next (request smuggling), so nothing ambiguous is accepted.

    Args:
        headers: lower-case names and values.
        http_version: such as "1.1".
        target: what the first line asks for (RFC 9112, 3.2).
    """
    return (
        _target_fault(target)
        or _host_fault(headers, http_version)
        or _framing_fault(headers, http_version)
    )


def _target_fault(target: bytes) -> str | None:
    """All parts of the server must find the same path and query in the target."""
    if b"#" in target:
        return "The request target has a fragment (#...), which clients do not send."
    if not target.isascii():
        return "The request target has characters that are not ASCII; percent-encode them."
    if target.startswith(b"/"):
        return None
    try:
        path = httptools.parse_url(target).path
    except httptools.HttpParserInvalidURLError:
        path = None
    return None if path else "The request target is neither a path nor a URL with a path."


def _host_fault(headers: Sequence[tuple[bytes, bytes]], http_version: str) -> str | None:
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and http_version >= "1.1"):
        return f"The request has {len(hosts)} Host headers; send one."
    if hosts and not _HOST.fullmatch(hosts[0].strip(_BLANKS)):
        return "The Host header is not a host with an optional port."
    return None


def _framing_fault(headers: Sequence[tuple[bytes, bytes]], http_version: str) -> str | None:
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if not codings:
        return None
    if len(codings) > 1 or codings[0].strip(_BLANKS).lower() != b"chunked":
        return "The only Transfer-Encoding that is supported is chunked."
    if http_version < "1.1":
        return "An HTTP/1.0 request cannot have a Transfer-Encoding."
    if any(name == b"content-length" for name, _ in headers):
        return "The request has both Transfer-Encoding and Content-Length; send one of them."
    return None


def without_upgrade_offer(data: bytes) -> bytes:
    """Drop `Upgrade` from headers that begin here; RFC 9110 (7.8) lets a server ignore it.

    Java's HTTP client offers HTTP/2 this way with its first request, even if that has a body.
    """
    head = data[: data.find(b"\r\n\r\n") + 2]
    if _UPGRADE_OFFER.search(head) is None:
        return data
    return _UPGRADE_OFFER.sub(b"", head) + data[len(head) :]
