"""JSON log lines on standard error, one event per line, without file names or image content."""

from __future__ import annotations

import logging
import sys
from typing import Final

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

LOGGER_NAME: Final = "osteo"


def configure_logs(level: str) -> None:
    """Send all log records, warnings included, to standard error as JSON lines.

    Args:
        level: `debug`, `info`, `warning` or `error`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(levelname)s %(name)s %(message)s",
            timestamp=True,
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn adds it for terminals
            rename_fields={"levelname": "level", "name": "logger", "message": "event"},
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # It warns of every malformed form, which the request's log line already reports.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
