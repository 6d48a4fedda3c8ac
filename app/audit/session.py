"""Open the audit that the settings ask for."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from app import __version__
from app.audit.writer import AuditWriter
from app.settings import Settings
from app.settings.hosts import is_loopback
from app.telemetry.logs import LOGGER_NAME
from app.telemetry.metrics import Metrics

_CLOSE_S: Final = 5.0

_logger = logging.getLogger(LOGGER_NAME)


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of a service.

    Attributes:
        writer: writes records; None if nothing is recorded.
        is_required: whether answers wait until they are recorded.
        start_details: what the record of the start says.
    """

    writer: AuditWriter | None
    is_required: bool
    start_details: dict[str, Any]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write records meanwhile."""
        if self.writer is None:
            yield
            return
        await asyncio.to_thread(self.writer.start, self.start_details)
        try:
            yield
        finally:
            await asyncio.to_thread(self.writer.close, _CLOSE_S)


def audit_url(settings: Settings) -> str:
    """The database of the audit, as a SQLAlchemy URL."""
    if settings.audit_url is not None:
        return settings.audit_url.get_secret_value()
    return f"sqlite:///{settings.state_dir / 'audit.sqlite3'}"


def open_audit(settings: Settings, metrics: Metrics) -> Audit:
    """The audit that the settings ask for; it writes while it is `running`."""
    mode = settings.audit or ("off" if is_loopback(settings.host) else "on")
    _logger.info("audit", extra={"mode": mode})
    if mode == "off":
        return Audit(None, is_required=False, start_details={})
    writer = AuditWriter(
        audit_url(settings),
        settings.replica or socket.gethostname(),
        mode,
        settings.audit_queue_records,
        settings.audit_head_every,
    )
    metrics.watch_audit(writer)
    details = {"program": __version__, "audit": mode, "process": os.getpid()}
    return Audit(writer, is_required=mode == "required", start_details=details)
