"""Who comes in: a tile for which there is no room is refused by the head of its request.

A crowd that is turned away must not cost what the tiles of others need. This answers before uvicorn
and the application have spent anything on the request, and lets a burst in by one and one: whoever
has come in is expected from then on, not only once the application has got round to it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from app.api.observe import REQUEST_ID_HEADER, begin, record
from app.core.errors import QueueFullError
from app.metrics import Metrics
from app.problems import problem_response
from app.scheduling import Admission

TILE_PATHS: Final = frozenset({"/v1/classify", "/v1/classify/batch", "/v1/explain"})
"""Routes that take tiles; a test holds them against the application's."""
DOOR: Final = "door"
"""Where connections find it, in the state that the lifespan shares with its server."""
EXPECTED: Final = "end_expecting"
"""Where the routes find, in a request's state, what ends its being expected."""


class Door:
    """Stands between connections and the application."""

    def __init__(self, admission: Admission, metrics: Metrics) -> None:
        """Open while `admission` has room."""
        self._admission = admission
        self._metrics = metrics
        self._is_passed = False
        self._waiting: deque[Callable[[], None]] = deque()

    def refuse(self, scope: Scope) -> Response | None:
        """Expect the tile of a request, or answer it.

        Args:
            scope: of a POST to one of `TILE_PATHS`; its state gets what the routes need.

        Returns:
            The refusal, counted and logged; None where there is room.
        """
        try:
            scope["state"][EXPECTED] = self._admission.expect()
        except QueueFullError as error:
            started = time.perf_counter()
            request_id = begin(scope)
            refusal = problem_response(Request(scope), error)
            refusal.headers[REQUEST_ID_HEADER] = request_id
            route, duration_s = scope["path"], time.perf_counter() - started
            record(self._metrics, scope, route, refusal.status_code, duration_s)
            return refusal
        return None

    def let_in(self, go_in: Callable[[], None]) -> None:
        """Call `go_in` now, or in the next turn of the event loop in which nobody else goes in.

        All of a burst together would keep the loop for a tenth of a second, and with it whoever
        comes only to be refused or to ask whether the service is ready.
        """
        if self._is_passed:
            self._waiting.append(go_in)
            return
        self._is_passed = True
        asyncio.get_running_loop().call_soon(self._close_behind)
        go_in()

    def _close_behind(self) -> None:
        self._is_passed = False
        if self._waiting:
            self.let_in(self._waiting.popleft())
