"""Run the application under uvicorn; on SIGTERM drain and exit with code 0."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import math
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from app.core.errors import SettingsError
from app.main import create_app
from app.server.connection_limits import NO_LIMITS
from app.server.listener import EXIT_NOT_STARTED, open_listeners
from app.server.tile_protocol import TileProtocol
from app.server.tls import TlsFiles, limit_handshakes
from app.server.tls_renewal import RenewedTls
from app.serving.service import TileService
from app.settings import Settings
from app.telemetry.logs import LOGGER_NAME, configure_logs

_GRACE_S: Final = 2.0
"""After the drain, uvicorn cancels requests and the model is closed; then the process is ended."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_logger = logging.getLogger(LOGGER_NAME)


class UnlimitedTileProtocol(TileProtocol):
    """For a server behind an ingress that limits connections itself."""

    limits = NO_LIMITS


class DrainingServer(uvicorn.Server):
    """Turns readiness off, closes the port after a delay, and finishes the requests in flight.

    uvicorn closes the port at once and then raises the signal again, so that the process dies of
    it, which an orchestrator reads as a failure.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        service: TileService,
        drain_delay_s: float,
        tls: RenewedTls | None = None,
    ) -> None:
        """Add to uvicorn's configuration what a drain and renewed certificates need."""
        super().__init__(config)
        self._service = service
        self._drain_delay_s = drain_delay_s
        self._tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; over TLS with limits on the time of handshakes."""
        if self._tls is not None:
            limit_handshakes(asyncio.get_running_loop())
        await super().startup(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGINT and SIGTERM, read certificates again on SIGHUP and when they change.

        nohup and background shells start a process with SIGINT ignored. It is handled all the
        same: a SIGINT that reaches this process is meant to stop it.
        """
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._begin_drain, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        renewal = None if self._tls is None else loop.create_task(self._tls.keep_renewed())
        yield
        if renewal is not None:
            renewal.cancel()

    def _reload(self) -> None:
        """Without TLS, SIGHUP changes nothing: unhandled, it would end the process undrained."""
        if self._tls is None:
            _logger.info("nothing_to_reload")
        else:
            self._tls.ask()

    def _begin_drain(self, number: int) -> None:
        if self._service.is_draining:
            self.force_exit = number == signal.SIGINT  # a second Ctrl-C does not wait
            self.should_exit = True
            return
        _logger.info("draining", extra={"signal": signal.Signals(number).name})
        self._service.begin_drain()
        delay_s = 0.0 if number == signal.SIGINT else self._drain_delay_s
        _end_process_after(delay_s + (self.config.timeout_graceful_shutdown or 0) + _GRACE_S)
        asyncio.get_running_loop().call_later(delay_s, setattr, self, "should_exit", True)


def _end_process_after(seconds: float) -> None:
    """End this process with exit code 1, unless it has ended by itself by then.

    A stuck thread cannot be ended and would be waited for. The timer runs outside the interpreter,
    so that it also ends a process whose threads hold Python's lock, and prints where they are.
    """
    try:
        faulthandler.dump_traceback_later(seconds, exit=True)
    except RuntimeError:  # the system allows no further thread
        signal.setitimer(signal.ITIMER_REAL, seconds)  # its signal kills


def scheme_of(settings: Settings) -> str:
    """The scheme of the server's URLs: "https" if TLS is on, else "http"."""
    return "http" if TlsFiles.of(settings) is None else "https"


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT (Ctrl-C).

    Returns:
        The exit code: 0 after a drain, 1 if the server could not start, as where the port is taken,
        the address is not one of this machine or a TLS file cannot be used. If work does not end
        within the drain time, the process exits with code 1 by itself.

    Raises:
        SettingsError: what `create_app` raises, or the audit is required and cannot be written.
    """
    configure_logs(settings.log_level)
    # A worker thread hands Python's lock to the event loop after 1 ms instead of 5 ms.
    sys.setswitchinterval(0.001)
    app = create_app(settings)
    files = TlsFiles.of(settings)
    try:
        tls = None if files is None else RenewedTls(files, app.state.metrics.set_certificate_expiry)
    except SettingsError as error:
        _logger.error("cannot_use_tls", extra={"reason": str(error)})  # noqa: TRY400 - the traceback says nothing more
        return EXIT_NOT_STARTED
    # Here, because uvicorn would print a traceback, and after TLS, so that a start that fails
    # leaves no record of a start.
    app.state.audit.start()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=TileProtocol if settings.connection_limits else UnlimitedTileProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        proxy_headers=False,  # the service does not use the address of the client
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout_s),
        ssl_context_factory=None if tls is None else lambda *_: tls.context,
    )
    server = DrainingServer(config, app.state.service, settings.drain_delay_s, tls)
    try:
        server.run(open_listeners(settings.host, settings.port, scheme_of(settings)))
    except SystemExit:  # uvicorn's own code (3) where the port is taken
        return EXIT_NOT_STARTED
    return 0 if server.started else EXIT_NOT_STARTED
