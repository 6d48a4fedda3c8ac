"""uvicorn's HTTP/1.1 protocol with limits on what a client can make it hold, and for how long.

uvicorn limits neither the headers of a request nor what surrounds the pieces of its body, reads a
rejected body without limit, skips the body of a request that offers an upgrade, and closes idle
connections as soon as a shutdown begins, even if a request is on its way. It answers bytes that are
not HTTP before the valid requests ahead of them, and drops those of a client that half-closes.
"""

from __future__ import annotations

from asyncio import Transport
from enum import Enum, auto
from typing import Any, ClassVar, Final, cast

from starlette.responses import PlainTextResponse, Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.api.answer_headers import PLAIN_HEADERS
from app.api.transport_security import add_transport_security
from app.server.connection_limits import ConnectionLimits
from app.server.request_head import find_fault, without_upgrade_offer
from app.server.timer import Timer
from app.server.tls_transport import TlsTransport

SHUTDOWN_GRACE_S: Final = 0.25
"""A shutdown leaves idle connections open for this long: a request may be on its way."""
TLS_GOODBYE_S: Final = 1.0
"""A shutdown waits for this long for the other side to confirm that an idle TLS connection ends:
clients that keep connections in a pool do not read from them."""
HALF_CLOSE_S: Final = 1.0
"""A client that closes its side within this time of the end of its request has sent all it wants to
and waits for the answer. One that closes it later has given up, so its tiles are not classified."""


class _Phase(Enum):
    """Which part of a request is being read."""

    BETWEEN = auto()
    HEAD = auto()
    BODY = auto()


class _RefusedError(Exception):
    """Stops the parser; the request has been refused."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection. A subclass can reject a request in `_begin_request`."""

    limits: ClassVar = ConnectionLimits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Called by uvicorn."""
        super().__init__(*args, **kwargs)
        self._phase = _Phase.BETWEEN
        self._timed_phase: _Phase | None = _Phase.BETWEEN
        self._n_pending_bytes = 0  # read since the parser last completed a part of a request
        self._n_discarded_bytes = 0
        self._completed_at = 0.0  # of the last complete request
        self._is_half_closed = False
        self._is_refusing = False
        self._tls: TlsTransport | None = None
        self._read_timer = Timer(self.loop)
        self._write_timer = Timer(self.loop)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as uvicorn
        """Limit the time to the first request."""
        if transport.get_extra_info("sslcontext") is not None:
            transport = self._tls = TlsTransport(transport)
        super().connection_made(transport)
        self._read_timer.start(self.limits.head_timeout_s, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._read_timer.stop()
        self._write_timer.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Limit the bytes of an incomplete head, chunk header or trailer: the parser keeps them."""
        if self._tls is not None and self._tls.is_closing():
            return  # asyncio's TLS goes on reading until the other side has said goodbye
        if self._is_refusing:
            self._count_discarded(len(data))
            return
        if self._is_between:
            data = without_upgrade_offer(data)
        self._n_pending_bytes += len(data)
        super().data_received(data)
        self._set_read_timer()
        if self._n_pending_bytes > self.limits.max_head_bytes:
            self._refuse_long_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse(400, msg)

    def eof_received(self) -> bool:  # type: ignore[override] # True keeps the connection open
        """Answer the complete requests of a client that closes only its side.

        Not over TLS, where asyncio always closes both sides.
        """
        if self._tls is not None or self._is_idle or self._phase is _Phase.BODY:
            return False
        if not self._is_half_closed and self.loop.time() - self._completed_at > HALF_CLOSE_S:
            return False
        self._is_half_closed = True  # called once more if reading is paused and resumed
        self.cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        """Note the start of a request."""
        super().on_message_begin()
        self._enter(_Phase.HEAD)

    def on_headers_complete(self) -> None:
        """Check the headers, then begin the request."""
        n_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if n_bytes > self.limits.max_head_bytes:
            self._refuse_long_head()
        elif self.parser.should_upgrade():  # the parser would skip the body
            self._refuse(400, "The request asks for an upgrade, which is not supported.")
        elif fault := find_fault(self.headers, self.parser.get_http_version(), self.url):
            self._refuse(400, fault)
        elif len(self.pipeline) >= self.limits.max_pipelined:
            self.transport.close()
        if self._is_refusing:
            raise _RefusedError
        self._enter(_Phase.BODY)
        self._n_discarded_bytes = 0
        if not self.transport.is_closing():
            self._begin_request()

    def _begin_request(self) -> None:
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a body on, or discard it after the request was answered."""
        self._n_pending_bytes = 0
        if self._is_idle:
            self._count_discarded(len(body))
        elif not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of a request."""
        self._enter(_Phase.BETWEEN)
        self._completed_at = self.loop.time()
        if not (self._is_idle or self.transport.is_closing()):
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Limit the time to the end of the body, to the next request, or to the end of its head."""
        super().on_response_complete()
        self._timed_phase = None
        self._set_read_timer()

    def timeout_keep_alive_handler(self) -> None:
        """Replaced by the read timer, which is not stopped by a blank line.

        uvicorn's timer also runs while a body is discarded or the next request is worked on.
        """

    def pause_writing(self) -> None:
        """Check from now on that the client takes its answer."""
        if self._tls is not None:
            self._tls.pause()
        if not self.flow.write_paused:  # TLS also pauses between the pieces of an answer
            super().pause_writing()
            self._watch_writing()

    def resume_writing(self) -> None:
        """Stop checking: the client has taken nearly all of it."""
        if self._tls is None or self._tls.resume():
            super().resume_writing()
            self._write_timer.stop()

    def shutdown(self) -> None:
        """Close an idle connection after a moment, any other one after its answer."""
        if self._is_idle:
            self.loop.call_later(SHUTDOWN_GRACE_S, super().shutdown)
            if self._tls is not None:
                delay_s = SHUTDOWN_GRACE_S + TLS_GOODBYE_S
                self.loop.call_later(delay_s, self._abort_if_still_idle, self.cycle)
        else:
            super().shutdown()

    def _abort_if_still_idle(self, last_cycle: object) -> None:
        if self.cycle is last_cycle:
            self.transport.abort()

    def _unsupported_upgrade_warning(self) -> None:
        """Do not log advice to install a WebSocket library when an upgrade is rejected."""

    @property
    def _is_idle(self) -> bool:
        """Whether every request whose headers have been read is answered."""
        # uvicorn has no cycle before the first request, whatever its annotation says.
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]

    @property
    def _is_between(self) -> bool:
        return self._phase is _Phase.BETWEEN

    def _enter(self, phase: _Phase) -> None:
        self._phase = phase
        self._n_pending_bytes = 0

    def _set_read_timer(self) -> None:
        """Limit the time until the end of the phase, if the server waits for the client."""
        phase = self._phase if self._is_idle else None
        if phase is self._timed_phase:
            return
        self._timed_phase = phase
        if phase is None or self.transport.is_closing():
            self._read_timer.stop()
        elif phase is _Phase.BETWEEN:
            self._read_timer.start(self.timeout_keep_alive, self.transport.close)
        elif phase is _Phase.HEAD:
            self._read_timer.start(self.limits.head_timeout_s, self.transport.close)
        else:
            self._read_timer.start(self.limits.discard_timeout_s, self.transport.close)

    def _refuse_long_head(self) -> None:
        limit = f"{self.limits.max_head_bytes:.0f} bytes"
        self._refuse(431, f"Headers, and what surrounds each piece of a body, may have {limit}.")

    def _refuse(self, status: int, reason: str) -> None:
        """Refuse what is being read, and close the connection after the answers before it."""
        if self._is_refusing or self.transport.is_closing():
            return
        self._is_refusing = True
        refusal = PlainTextResponse(reason, status, {"connection": "close", **PLAIN_HEADERS})
        add_transport_security({"scheme": self.scheme}, refusal.headers)
        is_body = self._phase is _Phase.BODY
        if self._is_idle:
            self._close_with(None if is_body else refusal)  # a body is discarded after its answer
        elif not is_body:
            self.cycle.keep_alive = False
        elif self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline[0] = (self.cycle, cast(Any, refusal))  # an ASGI application
        else:
            self._close_with(None if self.cycle.response_started else refusal)
        self._enter(_Phase.BETWEEN)
        self._completed_at = self.loop.time()

    def _close_with(self, response: Response | None) -> None:
        if response is not None:
            self._write(response)
        self.transport.close()

    def _write(self, response: Response) -> None:
        """Write a response that no application sends."""
        headers = [*self.server_state.default_headers, *response.raw_headers]
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[response.status_code] + head + b"\r\n" + response.body)

    def _count_discarded(self, n_bytes: int) -> None:
        self._n_discarded_bytes += n_bytes
        if self._n_discarded_bytes > self.limits.max_discarded_bytes:
            self.transport.close()

    def _watch_writing(self) -> None:
        n_waiting = self.transport.get_write_buffer_size()
        self._write_timer.start(self.limits.stall_check_s, self._abort_if_stalled, n_waiting)

    def _abort_if_stalled(self, n_waited: int) -> None:
        if n_waited - self.transport.get_write_buffer_size() < self.limits.min_taken_bytes:
            self.transport.abort()  # close() would wait until the client has taken the rest
        else:
            self._watch_writing()
