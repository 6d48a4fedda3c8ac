"""Connections that cannot be used to tie the server up: slow headers, endless bodies, hard closes.

uvicorn's protocol has no limit on a request's head, drops idle connections the instant a shutdown
begins (with what they were just sending), and reads on for ever after it has refused a body.
"""

from __future__ import annotations

import random
from asyncio import TimerHandle, Transport
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from app.api.door import DOOR, EXPECTED, TILE_PATHS, Door

MAX_HEAD_BYTES: Final = 32 * 1024
"""Request line and headers together; ordinary clients send below 2 KiB."""
HEAD_TIMEOUT_S: Final = 10.0
"""From the first byte of a connection or request to the end of its headers."""
MAX_DISCARDED_BYTES: Final = 64 * 1024**2
"""Read after a refusal so that the client, still sending, gets to see the answer."""
REFUSED_PAUSE_S: Final = 0.5
"""A connection whose tile was refused for want of room is not read for about so long afterwards.

`Retry-After` asks for a second or more. Who asks again at once waits, and takes no time from tiles.
"""
STALL_CHECK_S: Final = 10.0
"""How often a client that takes its answer slowly is looked at."""
MIN_TAKEN_BYTES: Final = 128 * 1024
"""It must have taken so much since (100 kbit/s): a picture has megabytes, which it holds."""
CROWDED: Final = frozenset({"queue-full", "uploads-full"})
"""Problems that say so."""
SHUTDOWN_GRACE_S: Final = 0.25
"""A request that was under way to an idle connection when a shutdown began still arrives."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with bounds on everything a client decides."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As uvicorn makes it."""
        super().__init__(*args, **kwargs)
        self._head_timer: TimerHandle | None = None
        self._is_in_head = True
        self._n_head_bytes = 0
        self._n_discarded_bytes = 0
        self._is_body_complete = True
        self._pause_timer: TimerHandle | None = None
        self._stall_timer: TimerHandle | None = None
        self._door: Door | None = self.app_state.get(DOOR)
        self._end_expecting: Callable[[], None] | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as uvicorn
        """Start the clock for the first request."""
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_head_timer()
        self._stop_stall_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins: its head is counted and timed."""
        super().on_message_begin()
        self._n_head_bytes = 0
        self._n_discarded_bytes = 0
        self._is_in_head = True
        self._is_body_complete = False
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head that is not complete; the parser keeps an unfinished one."""
        self._n_head_bytes += len(data)
        was_in_head = self._is_in_head
        super().data_received(data)
        if was_in_head and self._is_in_head and self._n_head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """The head is complete: the body has limits of its own."""
        self._is_in_head = False
        self._stop_head_timer()
        if sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse_head()
        if not self.transport.is_closing() and not self._is_turned_away():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a body on, or throw it away after the request was answered."""
        if self.transport.is_closing():
            return
        if self._is_idle:
            self._n_discarded_bytes += len(body)
            if self._n_discarded_bytes > MAX_DISCARDED_BYTES:
                self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has ended."""
        self._is_body_complete = True
        if not self.transport.is_closing():
            if not self._is_idle:
                super().on_message_complete()
            self._pause_if_refused()

    def on_response_complete(self) -> None:
        """An answer is out."""
        if self._end_expecting is not None:
            self._end_expecting()
        super().on_response_complete()
        self._pause_if_refused()

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

    def _is_turned_away(self) -> bool:
        """Ask the door whether a tile may come in; a refusal is written here."""
        path = self.url.partition(b"?")[0].decode("latin-1")
        is_tile = path in TILE_PATHS and self.parser.get_method() == b"POST"
        # Behind a request that is not answered yet, or where the protocol would change, the
        # application decides: it comes to the same answer later.
        if self._door is None or not is_tile or not self._is_idle or self.parser.should_upgrade():
            return False
        scope: Scope = {**self.scope, "method": "POST", "path": path}  # its state is the same
        refusal = self._door.refuse(scope)
        if refusal is None:
            self._end_expecting = scope["state"][EXPECTED]
            return False
        self.cycle = None  # type: ignore[assignment] # as uvicorn has it before the first request
        self._answer(refusal)
        return True

    def _answer(self, response: Response) -> None:
        """Answer the request whose head has just been read; its body will be thrown away."""
        keeps_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        headers = [*self.server_state.default_headers, *response.raw_headers]
        if not keeps_alive:
            headers.append((b"connection", b"close"))
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[response.status_code] + head + b"\r\n" + response.body)
        if not keeps_alive:
            self.transport.close()
        self.on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start the application; for tiles in turns."""
        start = partial(super()._start_asgi_task, cycle, app)
        if self._door is not None and EXPECTED in cycle.scope["state"]:
            self._door.let_in(start)
        else:
            start()

    def _pause_if_refused(self) -> None:
        """Read no further request for a while where the last was refused and is over."""
        is_over = self._is_body_complete and self._is_idle and not self.pipeline
        if is_over and self.scope["state"].get("problem") in CROWDED:
            self.flow.pause_reading()
            if self._pause_timer is not None:  # the request came with the last of the one before
                self._pause_timer.cancel()
            # At different times, or those that were refused together would come back together.
            pause_s = REFUSED_PAUSE_S * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
            self._pause_timer = self.loop.call_later(pause_s, self._read_on)

    def _read_on(self) -> None:
        self._pause_timer = None
        if not self.transport.is_closing():
            self.flow.resume_reading()

    @property
    def _is_idle(self) -> bool:
        return getattr(self.cycle, "response_complete", True)  # uvicorn's first cycle is None

    def _close_if_idle(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
                b"content-length: 0\r\nconnection: close\r\n\r\n"
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
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
