"""JSON log lines on standard error, one event per line, without file names or image content."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Final

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from app.core.decoder_warnings import filter_decoder_warnings
from app.telemetry.log_writer import LogWriter
from app.telemetry.tracing import current_trace

LOGGER_NAME: Final = "osteo"
_logger = logging.getLogger(LOGGER_NAME)


def configure_logs(level: str) -> None:
    """Send all log records, warnings included, to standard error as JSON lines.

    A thread writes them; see `LogWriter`. Warnings about the content of tiles are ignored.

    Args:
        level: `debug`, `info`, `warning` or `error`.
    """
    # A descriptor of its own: while native code loads, nobody sees what is written to number 2.
    writer = LogWriter(os.dup(sys.stderr.fileno()))
    writer.setFormatter(
        JsonFormatter(
            "%(levelname)s %(name)s %(message)s",
            timestamp=True,
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn adds it for terminals
            rename_fields={"levelname": "level", "name": "logger", "message": "event"},
        )
    )
    writer.addFilter(_add_trace_ids)
    logging.basicConfig(level=level.upper(), handlers=[writer], force=True)
    logging.captureWarnings(capture=True)
    filter_decoder_warnings()
    # It warns of every malformed form, which the request's log line already reports.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    # Python itself would write to standard error, and wait for its reader.
    threading.excepthook = _log_thread_error
    sys.unraisablehook = _log_unraisable_error


def n_dropped_log_lines() -> int:
    """Log lines dropped so far, because their reader did not take them."""
    handlers = logging.getLogger().handlers
    return sum(handler.n_dropped for handler in handlers if isinstance(handler, LogWriter))


def _add_trace_ids(record: logging.LogRecord) -> bool:
    """Let what is logged on behalf of a request name its trace; its own line has the ids anyway."""
    trace = current_trace()
    if trace is not None:
        record.__dict__.update(trace.log_fields)
    return True


def _log_thread_error(error: threading.ExceptHookArgs) -> None:
    _logger.error("thread_failed", exc_info=error.exc_value)


def _log_unraisable_error(error: sys.UnraisableHookArgs) -> None:
    _logger.error("error_ignored", exc_info=error.exc_value)
