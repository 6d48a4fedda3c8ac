"""Certificates that are renewed while the server runs."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from app.core.errors import SettingsError
from app.server.tls import TlsFiles, build_context
from app.server.tls_handshake import RenewableContext
from app.telemetry.logs import LOGGER_NAME

CHECK_S: Final = 60.0
"""Between looks at the files: in a pod, a renewed Secret appears without a signal."""
_logger = logging.getLogger(LOGGER_NAME)


class RenewedTls:
    """The TLS of a listener, from files that are read again when they change or when asked.

    Open connections keep the certificates of their handshake. A file that cannot be used changes
    nothing but the log.
    """

    def __init__(self, files: TlsFiles, note_expiry: Callable[[float], None]) -> None:
        """Read the files.

        Args:
            files: the certificate, its key and the authorities of clients.
            note_expiry: told when the certificate expires (seconds since 1970), after each reading.

        Raises:
            SettingsError: they cannot be used; the sentence names variable and file.
        """
        self.context = RenewableContext(ssl.PROTOCOL_TLS_SERVER)
        self._files = files
        self._note_expiry = note_expiry
        self._asked = asyncio.Event()
        self._stamps = files.stamps()
        self._use(*build_context(files))

    def ask(self) -> None:
        """Have the files read again, whether or not they have changed."""
        self._asked.set()

    async def keep_renewed(self, check_s: float = CHECK_S) -> None:
        """Read the files again when asked, and when they have changed; never returns.

        Args:
            check_s: seconds between looks at the files.
        """
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), check_s)
            is_asked = self._asked.is_set()
            self._asked.clear()
            stamps = await asyncio.to_thread(self._files.stamps)  # the folder may be a network's
            if is_asked or stamps != self._stamps:
                self._stamps = stamps
                await self._renew()

    async def _renew(self) -> None:
        try:
            context, expires_at = await asyncio.to_thread(build_context, self._files)
        except SettingsError as error:
            reason = f"{error} The previous files stay in use."
            _logger.error("tls_not_renewed", extra={"reason": reason})  # noqa: TRY400 - the sentence says it all
            return
        self._use(context, expires_at)
        _logger.info("tls_renewed", extra={"expires": _written(expires_at)})

    def _use(self, context: ssl.SSLContext, expires_at: float) -> None:
        self.context.newest = context
        self._note_expiry(expires_at)
        if expires_at <= time.time():
            extra = {"file": str(self._files.certificate), "expired": _written(expires_at)}
            _logger.warning("tls_certificate_expired", extra=extra)


def _written(timestamp_s: float) -> str:
    return datetime.fromtimestamp(timestamp_s, UTC).isoformat()
