"""Load shedding on a connection: ask before a request is started, pause after a rejection."""

from __future__ import annotations

import random
from asyncio import TimerHandle, Transport
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.api.load_shedding import OVERLOAD_CODES, find_load_shedder, tile_path
from app.api.request_context import RequestContext, request_context
from app.server.certificates import subject_of
from app.server.http_protocol import GuardedProtocol

REFUSED_PAUSE_S: Final = 0.5
"""A connection is not read for about this long after a tile was rejected because of load.

`Retry-After` asks for a second or more. A client that retries at once has to wait, and takes no
time from accepted tiles.
"""


class TileProtocol(GuardedProtocol):
    """One connection of a server that takes tiles."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Called by uvicorn; no load is shed if the application's state has no load shedder."""
        super().__init__(*args, **kwargs)
        self._load_shedder = find_load_shedder(self.app_state)
        self._certificate_subject: str | None = None
        self._release_place: Callable[[], None] | None = None
        self._closes_after_body = False
        self._late_answer: Response | None = None
        self._pause_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as uvicorn
        """Note whom a verified client certificate names."""
        self._certificate_subject = subject_of(transport.get_extra_info("peercert"))
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the reserved place."""
        self._release()
        self._stop_pause_timer()
        super().connection_lost(exc)

    def on_message_complete(self) -> None:
        """Handle the end of a request."""
        super().on_message_complete()
        self._close_if_over()
        self._pause_if_rejected()

    def on_response_complete(self) -> None:
        """Handle the end of an answer."""
        self._release()
        super().on_response_complete()
        self._pause_if_rejected()

    def shutdown(self) -> None:
        """Give an answer that is delayed at once, so that the connection can be closed."""
        if self._late_answer is not None:
            self._answer_late()
        super().shutdown()

    def _begin_request(self) -> None:
        if self._late_answer is not None:
            self.transport.close()  # it came in one read with a request whose answer is delayed
            return
        # The context also notes when the headers were complete.
        self._context().certificate_subject = self._certificate_subject
        if not self._is_rejected():
            self._stop_pause_timer()  # uvicorn resumes reading when the application reads
            super()._begin_request()

    def _is_rejected(self) -> bool:
        """Reserve a place for a request with a tile; if there is none, reject the request here."""
        raw_path, _, query = self.url.partition(b"?")
        path = tile_path(raw_path.decode("latin-1"))
        if self._load_shedder is None or path is None or self.parser.get_method() != b"POST":
            return False  # including encoded spellings of a tile path: their routes reject them
        # Only the first of several requests in one read can be rejected here. The others are
        # started in turn, like those behind a request that is not answered yet.
        if self.flow.read_paused or self.flow.write_paused or not self._is_idle:
            return False
        # It shares the request's state.
        scope: Scope = {**self.scope, "method": "POST", "path": path, "query_string": query}
        rejection = self._load_shedder.reserve_or_reject(scope)
        if rejection is None:
            self._release_place = request_context(scope).release_place
            return False
        self.cycle = None  # type: ignore[assignment] # as uvicorn has it before the first request
        if self.parser.get_http_version() == "1.0" or not self.parser.should_keep_alive():
            rejection.headers["connection"] = "close"
            self._closes_after_body = True  # if closed now, the client might not see the answer
        if delay_s := request_context(scope).refusal_delay_s:
            self._delay(rejection, delay_s)
        else:
            self._answer(rejection)
        return True

    def _answer(self, response: Response) -> None:
        """Answer the request whose headers were read last; its body will be discarded."""
        self._write(response)
        self.on_response_complete()

    def _delay(self, response: Response, delay_s: float) -> None:
        """Answer later, and read nothing until then.

        A task of the application that sleeps takes a quarter more processor time, and callers with
        wrong keys must cost those with right ones as little as possible.
        """
        self._late_answer = response
        self._stop_pause_timer()
        self.flow.pause_reading()
        self._pause_timer = self.loop.call_later(delay_s, self._answer_late)

    def _answer_late(self) -> None:
        """Send the answer that was delayed; reading goes on, or pauses as after any rejection."""
        response, self._late_answer = self._late_answer, None
        self._stop_pause_timer()
        if response is not None and not self.transport.is_closing():
            self._answer(response)
            self._close_if_over()

    def _close_if_over(self) -> None:
        """Close a connection that ends with a request that has been read and answered."""
        if self._closes_after_body and self._is_between and self._late_answer is None:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start the application; requests with tiles take turns."""
        start = partial(super()._start_asgi_task, cycle, app)
        is_tile = tile_path(cycle.scope["path"]) is not None and cycle.scope["method"] == "POST"
        if self._load_shedder is not None and is_tile:
            self._load_shedder.start_in_turn(start)
        else:
            start()

    def _context(self) -> RequestContext:
        return request_context(cast(Scope, self.scope))  # a TypedDict to uvicorn

    def _release(self) -> None:
        if self._release_place is not None:
            self._release_place()
            self._release_place = None

    def _pause_if_rejected(self) -> None:
        """Stop reading for a while once a request rejected because of load is over."""
        is_over = self._is_between and self._is_idle and not self.pipeline
        if self._late_answer is not None:
            return
        if self.transport.is_closing() or not is_over:
            return
        if self._context().problem_code not in OVERLOAD_CODES:
            return
        self._stop_pause_timer()
        self.flow.pause_reading()
        # For a random time, or clients rejected together would come back together.
        pause_s = REFUSED_PAUSE_S * random.uniform(0.5, 1.5)  # noqa: S311 - not for cryptography
        self._pause_timer = self.loop.call_later(pause_s, self._resume_reading)

    def _stop_pause_timer(self) -> None:
        if self._pause_timer is not None:
            self._pause_timer.cancel()
            self._pause_timer = None

    def _resume_reading(self) -> None:
        self._pause_timer = None
        if not self.transport.is_closing():
            self.flow.resume_reading()
