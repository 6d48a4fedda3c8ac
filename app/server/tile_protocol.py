"""Who comes in: a tile for which there is no room is refused by the head of its request.

A crowd that is turned away must not cost what the tiles of others need. This answers before there
is a task, a route or a body, and lets a burst in one by one: whoever has come in is expected from
then on, not only once the application has got round to it.
"""

from __future__ import annotations

import asyncio
import random
import time
from asyncio import TimerHandle
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from app.api.middleware import BEGAN, REQUEST_ID_HEADER, begin, record
from app.api.problems import problem_response
from app.core.errors import QueueFullError
from app.server.http_protocol import GuardedProtocol
from app.serving.service import TileService
from app.telemetry.metrics import Metrics

TILE_PATHS: Final = frozenset({"/v1/classify", "/v1/classify/batch", "/v1/explain"})
"""Routes that take tiles; a test holds them against the application's."""
DOOR: Final = "door"
"""Where connections find it, in the state that the lifespan shares with its server."""
EXPECTED: Final = "end_expecting"
"""Where the routes find, in a request's state, what ends its being expected."""
REFUSED_PAUSE_S: Final = 0.5
"""A connection whose tile was refused for want of room is not read for about so long afterwards.

`Retry-After` asks for a second or more. Who asks again at once waits, and takes no time from tiles.
"""
CROWDED: Final = frozenset({"queue-full", "uploads-full"})
"""Problems that say so."""


class Door:
    """Stands between all connections and the application."""

    def __init__(self, service: TileService, metrics: Metrics) -> None:
        """Open while the service has room."""
        self._service = service
        self._metrics = metrics
        self._has_somebody_gone_in = False
        self._waiting: deque[Callable[[], None]] = deque()

    def expect_or_refuse(self, scope: Scope) -> Response | None:
        """Expect the tile of a request, or answer it.

        Args:
            scope: of a POST to one of `TILE_PATHS`; its state gets what the routes need.

        Returns:
            The refusal, counted and logged; None where there is room, or no model, of which the
            application tells.
        """
        if not self._service.rollout.has_model:
            return None
        try:
            scope["state"][EXPECTED] = self._service.admission.expect()
        except QueueFullError as error:
            request_id = begin(scope)
            refusal = problem_response(Request(scope), error)
            refusal.headers[REQUEST_ID_HEADER] = request_id
            record(self._metrics, scope, scope["path"], refusal.status_code)
            return refusal
        return None

    def let_in(self, go_in: Callable[[], None]) -> None:
        """Call `go_in` now, or in the next turn of the event loop in which nobody else goes in.

        All of a burst together would keep the loop for a tenth of a second, and with it whoever
        comes only to be refused or to ask whether the service is ready.
        """
        if self._has_somebody_gone_in:
            self._waiting.append(go_in)
            return
        self._has_somebody_gone_in = True
        asyncio.get_running_loop().call_soon(self._begin_turn)
        go_in()

    def _begin_turn(self) -> None:
        self._has_somebody_gone_in = False
        if self._waiting:
            self.let_in(self._waiting.popleft())


class TileProtocol(GuardedProtocol):
    """One connection: asks the door, and pauses where it was turned away."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As uvicorn makes it; without a door in the application's state everybody comes in."""
        super().__init__(*args, **kwargs)
        self._door: Door | None = self.app_state.get(DOOR)
        self._end_expecting: Callable[[], None] | None = None
        self._closes_after_body = False
        self._pause_timer: TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_expecting()
        self._stop_pause_timer()
        super().connection_lost(exc)

    def on_message_complete(self) -> None:
        """A request has ended."""
        super().on_message_complete()
        if self._closes_after_body:
            self.transport.close()
        self._pause_if_refused()

    def on_response_complete(self) -> None:
        """An answer is out."""
        self._stop_expecting()
        super().on_response_complete()
        self._pause_if_refused()

    def _begin_request(self) -> None:
        self.scope["state"][BEGAN] = time.perf_counter()
        if not self._is_turned_away():
            self._stop_pause_timer()  # uvicorn reads on as the application does
            super()._begin_request()

    def _is_turned_away(self) -> bool:
        """Ask the door whether a tile may come in; a refusal is written here."""
        path = self.url.partition(b"?")[0].decode("latin-1")
        if self._door is None or path not in TILE_PATHS or self.parser.get_method() != b"POST":
            return False  # also a tile's path in another spelling: its route will refuse it
        # Of many requests in one read the first is turned away here, the others take their turns.
        # So do those behind one that is not answered.
        if self.flow.read_paused or self.flow.write_paused or not self._is_idle:
            return False
        scope: Scope = {**self.scope, "method": "POST", "path": path}  # its state is the same
        refusal = self._door.expect_or_refuse(scope)
        if refusal is None:
            self._end_expecting = scope["state"].get(EXPECTED)
            return False
        self.cycle = None  # type: ignore[assignment] # as uvicorn has it before the first request
        self._answer(refusal)
        return True

    def _answer(self, response: Response) -> None:
        """Answer the request whose head has just been read; its body will be thrown away."""
        headers = [*self.server_state.default_headers, *response.raw_headers]
        if self.parser.get_http_version() == "1.0" or not self.parser.should_keep_alive():
            headers.append((b"connection", b"close"))
            self._closes_after_body = True  # closed at once, the client may never see the answer
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[response.status_code] + head + b"\r\n" + response.body)
        self.on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start the application; for tiles in turns."""
        start = partial(super()._start_asgi_task, cycle, app)
        is_tile = cycle.scope["path"] in TILE_PATHS and cycle.scope["method"] == "POST"
        if self._door is not None and is_tile:
            self._door.let_in(start)
        else:
            start()

    def _stop_expecting(self) -> None:
        if self._end_expecting is not None:
            self._end_expecting()
            self._end_expecting = None

    def _pause_if_refused(self) -> None:
        """Read no further request for a while where the last was refused and is over."""
        is_over = self._is_between and self._is_idle and not self.pipeline
        is_crowded = self.scope["state"].get("problem") in CROWDED
        if self.transport.is_closing() or not is_over or not is_crowded:
            return
        self._stop_pause_timer()
        self.flow.pause_reading()
        # At different times, or those that were refused together would come back together.
        pause_s = REFUSED_PAUSE_S * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        self._pause_timer = self.loop.call_later(pause_s, self._read_on)

    def _stop_pause_timer(self) -> None:
        if self._pause_timer is not None:
            self._pause_timer.cancel()
            self._pause_timer = None

    def _read_on(self) -> None:
        self._pause_timer = None
        if not self.transport.is_closing():
            self.flow.resume_reading()
