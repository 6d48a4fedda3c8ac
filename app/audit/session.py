"""The audit of a running service: opened from the settings, written while the service runs."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from app import __version__
from app.audit.command_records import user_name
from app.audit.opening import Mode, audit_mode, audit_url, chain_of
from app.audit.writer import AuditWriter
from app.settings import Settings
from app.telemetry.logs import LOGGER_NAME

_CLOSE_S: Final = 5.0

_logger = logging.getLogger(LOGGER_NAME)


class AuditSession:
    """The audit of one service.

    Attributes:
        mode: `off`, `on` or `required`.
        writer: writes records while the session is `running`; None if the mode is `off`.
    """

    def __init__(
        self, mode: Mode, writer: AuditWriter | None, start_details: Mapping[str, Any]
    ) -> None:
        """Prepare; `start` opens the database.

        Args:
            mode: `off`, `on` or `required`.
            writer: of the records; None if the mode is `off`.
            start_details: what the record of the start says.
        """
        self.mode: Final = mode
        self.writer: Final = writer
        self._start_details = start_details
        self._is_started = False

    def start(self) -> None:
        """Open the database and record the start; nothing the second time.

        Raises:
            SettingsError: the database cannot be written, and the mode is `required`.
        """
        if self.writer is not None and not self._is_started:
            self.writer.start(self._start_details)
            self._is_started = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write records meanwhile.

        Raises:
            SettingsError: as `start`.
        """
        await asyncio.to_thread(self.start)
        try:
            yield
        finally:
            if self.writer is not None:
                await asyncio.to_thread(self.writer.close, _CLOSE_S)


def open_audit(settings: Settings, **start_details: Any) -> AuditSession:
    """The audit that the settings ask for.

    Args:
        settings: mode, database and name of the chain.
        start_details: what the record of the start says beside version, user, process and mode.

    Raises:
        SettingsError: a package is missing, or the URL is wrong.
    """
    mode = audit_mode(settings)
    _logger.info("audit", extra={"mode": mode})
    if mode == "off":
        return AuditSession(mode, None, {})
    writer = AuditWriter(
        audit_url(settings),
        chain_of(settings),
        mode,
        settings.audit_queue_records,
        settings.audit_head_every,
    )
    details = {
        **{"program": __version__, "user": user_name(), "process": os.getpid(), "audit": mode},
        **start_details,
    }
    return AuditSession(mode, writer, details)
