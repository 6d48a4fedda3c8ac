"""uvicorn's HTTP/1.1 protocol with limits on what a client can make it hold, and for how long.

uvicorn limits neither the headers of a request nor what surrounds the pieces of its body, reads a
rejected body without end, skips the body of a request that offers an upgrade, and closes idle
connections as soon as a shutdown begins, even if a request is on its way.
"""

from __future__ import annotations

import math
import re
from asyncio import AbstractEventLoop, TimerHandle, Transport
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.server.connection_limits import ConnectionLimits

SHUTDOWN_GRACE_S: Final = 0.25
"""A shutdown leaves idle connections open for this long: a request may be on its way."""

_UPGRADE_OFFER: Final = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class _Phase(Enum):
    """Which part of a request is being read."""

    BETWEEN = auto()
    HEAD = auto()
    BODY = auto()


class _Timer:
    """At most one pending call."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: TimerHandle | None = None

    def start(self, delay_s: float, callback: Callable[..., object], *args: object) -> None:
        """Replace the pending call; an infinite delay leaves none."""
        self.stop()
        if delay_s < math.inf:
            self._handle = self._loop.call_later(delay_s, callback, *args)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


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
        self._read_timer = _Timer(self.loop)
        self._write_timer = _Timer(self.loop)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as uvicorn
        """Limit the time to the first request."""
        super().connection_made(transport)
        self._read_timer.start(self.limits.head_timeout_s, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._read_timer.stop()
        self._write_timer.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Limit the bytes of an incomplete head, chunk header or trailer: the parser keeps them."""
        if self._is_between:
            data = _without_upgrade_offer(data)
        self._n_pending_bytes += len(data)
        super().data_received(data)
        self._set_read_timer()
        if self._n_pending_bytes > self.limits.max_head_bytes:
            self._reject(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """Note the start of a request."""
        super().on_message_begin()
        self._enter(_Phase.HEAD)

    def on_headers_complete(self) -> None:
        """Check the headers, then begin the request."""
        n_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if n_bytes > self.limits.max_head_bytes:
            self._reject(b"431 Request Header Fields Too Large")
        elif self.parser.should_upgrade():  # the parser would skip the body
            self._reject(b"400 Bad Request")
        elif len(self.pipeline) >= self.limits.max_pipelined:
            self.transport.close()
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
            self._n_discarded_bytes += len(body)
            if self._n_discarded_bytes > self.limits.max_discarded_bytes:
                self.transport.close()
        elif not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of a request."""
        self._enter(_Phase.BETWEEN)
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
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """Stop checking: the client has taken nearly all of it."""
        super().resume_writing()
        self._write_timer.stop()

    def shutdown(self) -> None:
        """Close an idle connection after a moment, any other one after its answer."""
        if self._is_idle:
            self.loop.call_later(SHUTDOWN_GRACE_S, super().shutdown)
        else:
            super().shutdown()

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

    def _reject(self, status: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._phase is _Phase.HEAD and self._is_idle:  # else it would look like another answer
            head = b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status
            self.transport.write(head)
        self.transport.close()

    def _watch_writing(self) -> None:
        n_waiting = self.transport.get_write_buffer_size()
        self._write_timer.start(self.limits.stall_check_s, self._abort_if_stalled, n_waiting)

    def _abort_if_stalled(self, n_waited: int) -> None:
        if n_waited - self.transport.get_write_buffer_size() < self.limits.min_taken_bytes:
            self.transport.abort()  # close() would wait until the client has taken the rest
        else:
            self._watch_writing()


def _without_upgrade_offer(data: bytes) -> bytes:
    """Drop `Upgrade` from headers that begin here; RFC 9110 (7.8) lets a server ignore it.

    Java's HTTP client offers HTTP/2 this way with its first request, even if that has a body.
    """
    head = data[: data.find(b"\r\n\r\n") + 2]
    if _UPGRADE_OFFER.search(head) is None:
        return data
    return _UPGRADE_OFFER.sub(b"", head) + data[len(head) :]
