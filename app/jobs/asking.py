"""Ask a queue from the event loop: in a thread, since a database takes milliseconds, or is gone."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from app.core.errors import OsteoError
from app.core.slide_errors import JobsDiskFullError, JobsUnavailableError
from app.core.slide_store_errors import DiskFullError
from app.telemetry.logs import LOGGER_NAME

_logger = logging.getLogger(LOGGER_NAME)
Value = TypeVar("Value")


async def ask(question: Callable[[], Value]) -> Value:
    """Call the queue in a thread.

    Raises:
        JobsUnavailableError: the queue cannot be reached.
        OsteoError: what the queue raises itself.
    """
    try:
        return await asyncio.to_thread(question)
    except OsteoError:
        raise
    except (sqlite3.Error, OSError) as error:
        _logger.warning("slide_queue_failed", extra={"reason": type(error).__name__})
        raise JobsUnavailableError(type(error).__name__) from error


async def ask_to_store(question: Callable[[], Value]) -> Value:
    """Call the queue in a thread for a change, which takes room on the disk.

    Raises:
        DiskFullError: the disk has no room for it.
        JobsUnavailableError: the queue cannot be reached.
    """
    try:
        return await ask(question)
    except JobsDiskFullError as error:
        raise DiskFullError from error
