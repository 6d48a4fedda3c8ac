"""The address that the server listens on, and how it is written in a URL."""

from __future__ import annotations

import ipaddress
import logging
import socket
from typing import Final

from app.telemetry.logs import LOGGER_NAME

EXIT_NOT_STARTED: Final = 1
"""Exit code of a server that could not start; 2 is that of a wrong setting or option."""
_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
_logger = logging.getLogger(LOGGER_NAME)


def open_listeners(host: str, port: int, scheme: str = "http") -> list[socket.socket] | None:
    """Open the socket of a server that accepts IPv6 and IPv4; None if uvicorn is to open its own.

    asyncio and uvloop restrict every IPv6 socket that they open to IPv6, so that `::` would not
    accept IPv4.

    Args:
        host: the address to listen on.
        port: the TCP port; 0 takes a free one.
        scheme: of the URL that is logged, "http" or "https".

    Raises:
        SystemExit: the port cannot be used; the log says why.
    """
    if not _is_every_address(host) or ":" not in host:
        return None
    if not socket.has_dualstack_ipv6():
        _logger.warning("listening_without_ipv4", extra={"host": host})
        return None
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
    except OSError as error:
        _logger.error("cannot_listen", extra={"host": host, "port": port, "reason": str(error)})  # noqa: TRY400 - the traceback says nothing more
        raise SystemExit(EXIT_NOT_STARTED) from error
    _logger.info("listening", extra={"url": url_of(host, listener.getsockname()[1], scheme)})
    return [listener]


def url_of(host: str, port: int, scheme: str = "http") -> str:
    """The URL at which this machine reaches a server that listens on a host."""
    if _is_every_address(host):
        host = _LOOPBACK[ipaddress.ip_address(host).version]
    if ":" in host:
        host = f"[{host.replace('%', '%25')}]"  # a zone, as in fe80::1%eth0: RFC 6874
    return f"{scheme}://{host}:{port}"


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False  # a name
