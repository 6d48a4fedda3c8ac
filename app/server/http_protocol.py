"""Connections that cannot be used to tie the server up: slow headers, endless bodies, hard closes.

uvicorn's protocol has no limit on a request's head or on what lies between the pieces of a body,
drops idle connections the instant a shutdown begins (with what they were just sending), and reads
on for ever after it has refused a body.
"""

from __future__ import annotations

import re
from asyncio import TimerHandle, Transport
from enum import Enum, auto
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 32 * 1024
"""Request line and headers together; ordinary clients send below 2 KiB. As many again may lie
around the pieces of a body and behind it."""
HEAD_TIMEOUT_S: Final = 10.0
"""From the first byte of a connection or request to the end of its headers."""
BYTES_A_BODY_BYTE: Final = 8
"""As many may be sent for each byte of a body: a chunk of one byte takes six."""
MAX_PIPELINED: Final = 64
"""Requests that a client may send ahead of answers; ordinary clients send none."""
MAX_DISCARDED_BYTES: Final = 64 * 1024**2
"""Read after a refusal so that the client, still sending, gets to see the answer."""
DISCARD_TIMEOUT_S: Final = 30.0
"""From an answer to the end of a body that is thrown away."""
STALL_CHECK_S: Final = 10.0
"""How often a client that takes its answer slowly is looked at."""
MIN_TAKEN_BYTES: Final = 128 * 1024
"""It must have taken so much since (100 kbit/s): a picture has megabytes, which it holds."""
SHUTDOWN_GRACE_S: Final = 0.25
"""A request that was under way to an idle connection when a shutdown began still arrives."""


_HEAD_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large"
_UPGRADE_OFFER: Final = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class _Phase(Enum):
    """What of a connection's requests is being read."""

    BETWEEN = auto()
    HEAD = auto()
    BODY = auto()


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with bounds on everything a client decides."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As uvicorn makes it."""
        super().__init__(*args, **kwargs)
        self._phase = _Phase.BETWEEN
        self._n_envelope_bytes = 0  # read since the phase began, without a body's
        self._n_discarded_bytes = 0
        self._head_timer: TimerHandle | None = None
        self._discard_timer: TimerHandle | None = None
        self._stall_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as uvicorn
        """Start the clock for the first request."""
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_head_timer()
        self._stop_discard_timer()
        self._stop_stall_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what is not body: the parser keeps an unfinished head or trailer."""
        if self._is_between:
            data = _without_upgrade_offer(data)
        self._n_envelope_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._n_envelope_bytes > MAX_HEAD_BYTES:
            self._refuse_envelope()
        elif self._is_between and self._is_idle and not self._is_timed:
            self._start_head_timer()  # a stray line break has stopped the clock of an idle one

    def on_message_begin(self) -> None:
        """A request begins: its head is counted and timed."""
        super().on_message_begin()
        # Where the one before was answered within the same read, it has just begun to run.
        self._unset_keepalive_if_required()
        self._enter(_Phase.HEAD)
        self._start_head_timer()

    def on_headers_complete(self) -> None:
        """The head is complete: the body has limits of its own."""
        n_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if n_bytes > MAX_HEAD_BYTES or self.parser.should_upgrade():
            # The parser takes an offered upgrade for accepted and the body for another protocol.
            self._refuse_envelope()
        self._enter(_Phase.BODY)
        self._n_discarded_bytes = 0
        self._stop_head_timer()
        if len(self.pipeline) >= MAX_PIPELINED:
            self.transport.close()
        if not self.transport.is_closing():
            self._begin_request()

    def _begin_request(self) -> None:
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a body on, or throw it away after the request was answered."""
        if self.transport.is_closing():
            return
        self._n_envelope_bytes = max(0, self._n_envelope_bytes - BYTES_A_BODY_BYTE * len(body))
        if self._is_idle:
            self._n_discarded_bytes += len(body)
            if self._n_discarded_bytes > MAX_DISCARDED_BYTES:
                self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has ended."""
        self._enter(_Phase.BETWEEN)
        self._stop_discard_timer()
        if self.transport.is_closing():
            return
        if self._is_idle:
            # The answer started the clock of an idle connection; the rest of the body stopped it.
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is out."""
        super().on_response_complete()
        if self._is_idle and self._phase is _Phase.BODY:
            self._stop_discard_timer()
            self._discard_timer = self.loop.call_later(DISCARD_TIMEOUT_S, self.transport.close)

    def pause_writing(self) -> None:
        """An answer waits for its client to take it."""
        super().pause_writing()
        self._start_stall_timer()

    def resume_writing(self) -> None:
        """The client has taken nearly all of it."""
        super().resume_writing()
        self._stop_stall_timer()

    def shutdown(self) -> None:
        """Close an idle connection, but not on top of a request that is under way to it."""
        if self._is_idle:
            self.loop.call_later(SHUTDOWN_GRACE_S, self._close_if_idle)
        else:
            super().shutdown()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: uvicorn would advise to install a WebSocket library, for a refused offer."""

    @property
    def _is_idle(self) -> bool:
        """Whether every request whose head has been read is answered."""
        return getattr(self.cycle, "response_complete", True)  # uvicorn's first cycle is None

    @property
    def _is_between(self) -> bool:
        return self._phase is _Phase.BETWEEN

    @property
    def _is_timed(self) -> bool:
        return self._head_timer is not None or self.timeout_keep_alive_task is not None

    def _enter(self, phase: _Phase) -> None:
        self._phase = phase
        self._n_envelope_bytes = 0

    def _close_if_idle(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _refuse_envelope(self) -> None:
        if self.transport.is_closing():
            return
        if self._phase is _Phase.HEAD and self._is_idle:  # it would pass for an earlier answer
            is_offer = self.parser.should_upgrade()
            self.transport.write(
                (b"HTTP/1.1 400 Bad Request" if is_offer else _HEAD_TOO_LARGE)
                + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
        self.transport.close()

    def _start_stall_timer(self) -> None:
        n_waiting = self.transport.get_write_buffer_size()
        self._stall_timer = self.loop.call_later(STALL_CHECK_S, self._cut_off_if_stalled, n_waiting)

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _cut_off_if_stalled(self, n_waited: int) -> None:
        if n_waited - self.transport.get_write_buffer_size() < MIN_TAKEN_BYTES:
            self.transport.abort()  # closing would wait for the client to take the rest
        else:
            self._start_stall_timer()

    def _start_head_timer(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._close_if_slow)

    def _close_if_slow(self) -> None:
        self._head_timer = None
        if self._is_idle:
            self.transport.close()
        else:  # behind a request that is being worked on nothing may be read
            self._start_head_timer()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_discard_timer(self) -> None:
        if self._discard_timer is not None:
            self._discard_timer.cancel()
            self._discard_timer = None


def _without_upgrade_offer(data: bytes) -> bytes:
    """Drop `Upgrade` from a head that begins here, as RFC 9110 (7.8) lets a server ignore it.

    Java's HTTP client offers HTTP/2 with its first request so, even if that brings a tile.
    """
    head = data[: data.find(b"\r\n\r\n") + 2]
    if _UPGRADE_OFFER.search(head) is None:
        return data
    return _UPGRADE_OFFER.sub(b"", head) + data[len(head) :]
