"""Run the application under uvicorn and end as orchestrators expect: drained, exit code 0."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from app.main import create_app
from app.server.tile_protocol import TileProtocol
from app.serving.service import TileService
from app.settings import Settings
from app.telemetry.logs import LOGGER_NAME, configure_logs

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_logger = logging.getLogger(LOGGER_NAME)


class DrainingServer(uvicorn.Server):
    """Turns readiness off first, closes the port after a delay, finishes what is in flight.

    uvicorn itself closes the port at once and then dies of the signal it caught, which an
    orchestrator reads as a failure.
    """

    def __init__(self, config: uvicorn.Config, service: TileService, drain_delay_s: float) -> None:
        """Wrap a uvicorn configuration."""
        super().__init__(config)
        self._service = service
        self._drain_delay_s = drain_delay_s

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Replaces uvicorn's handlers, which raise the signal again at the end."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._begin_drain, number)
        yield

    def _begin_drain(self, number: int) -> None:
        if self._service.is_draining:
            self.force_exit = number == signal.SIGINT  # a second Ctrl-C: do not wait
            self.should_exit = True
            return
        _logger.info("draining", extra={"signal": signal.Signals(number).name})
        self._service.begin_drain()
        delay_s = 0.0 if number == signal.SIGINT else self._drain_delay_s
        asyncio.get_running_loop().call_later(delay_s, setattr, self, "should_exit", True)


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Returns:
        The exit code: 0 after a drain, 1 where the server could not start.
    """
    configure_logs(settings.log_level)
    # A worker that holds Python's lock gives it to the event loop within a millisecond, not five.
    sys.setswitchinterval(0.001)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=TileProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here asks who or where the client is
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout_s),
    )
    server = DrainingServer(config, app.state.service, settings.drain_delay_s)
    server.run()
    return 0 if server.started else 1
