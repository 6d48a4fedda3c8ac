"""Early load shedding: reject on the request headers, because of the caller or a full queue.

The connection asks before there is a task, a route or a body, so that rejected requests cost the
accepted ones little. Accepted requests start one in each iteration of the event loop, and each
reserves its place in the queue at once, before the application sees it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Scope

from app.api.access_control import AccessControl
from app.api.answer_headers import add_answer_headers
from app.api.auditing import Auditor
from app.api.middleware import record_request
from app.api.problems import problem_response
from app.api.request_context import request_context
from app.api.request_tracing import begin_trace
from app.api.spellings import canonical_path
from app.core.access_errors import AccessError, RateLimitedError
from app.core.errors import NotReadyError, OsteoError, QueueFullError, UploadsFullError
from app.serving.service import TileService
from app.telemetry.metrics import Metrics

TILE_PATHS: Final = frozenset(
    {"/v1/classify", "/v1/classify/batch", "/v1/explain", "/v1/explain/grid"}
)
"""Paths of the routes that take tiles; a test compares them with the application's routes."""
OVERLOAD_CODES: Final = frozenset({QueueFullError.code, UploadsFullError.code})
"""Codes of the problems that reject a tile because of load; the connection pauses after them."""
_STATE_KEY: Final = "load_shedder"


def tile_path(path: str) -> str | None:
    """The path of the tile route that a request path means; None if it means another route."""
    canonical = canonical_path(path)
    return canonical if canonical in TILE_PATHS else None


class LoadShedder:
    """Decides for all connections which requests with tiles reach the application, and when."""

    def __init__(
        self, service: TileService, access: AccessControl, auditor: Auditor, metrics: Metrics
    ) -> None:
        """Use the queue of a service."""
        self._service = service
        self._access = access
        self._auditor = auditor
        self._metrics = metrics
        self._has_started_one = False
        self._waiting: deque[Callable[[], None]] = deque()

    def reserve_or_reject(self, scope: Scope) -> Response | None:
        """Reserve a place in the queue for the tile of a request.

        Args:
            scope: of a POST to one of `TILE_PATHS`; its context gets the reservation.

        Returns:
            The rejection, counted and logged, if the caller is refused, the queue is full or the
            request's id is refused; else None. None also without a model, and if the decision takes
            waiting: the application answers then. A rejection may have to be delayed by
            `refusal_delay_s` of the request's context.
        """
        context = request_context(scope)
        begin_trace(scope, context)
        if context.request_id_error is not None:
            return self._reject(scope, context.request_id_error)
        try:
            if self._access.admit(scope):
                context.release_place = self._service.reserve_place()
        except NotReadyError:
            return None
        except (AccessError, RateLimitedError, QueueFullError) as error:
            return self._reject(scope, error)
        return None

    def _reject(self, scope: Scope, error: OsteoError) -> Response:
        rejection = problem_response(scope, error)
        add_answer_headers(scope, rejection.headers)
        record_request(self._metrics, scope, scope["path"], rejection.status_code)
        self._auditor.note_refusal(scope, scope["path"], rejection.status_code)
        return rejection

    def start_in_turn(self, start: Callable[[], None]) -> None:
        """Call `start` now, or in the next iteration of the event loop that starts no other.

        A burst started at once would block the loop for a tenth of a second, and with it
        rejections and readiness probes.
        """
        if self._has_started_one:
            self._waiting.append(start)
            return
        self._has_started_one = True
        asyncio.get_running_loop().call_soon(self._start_next)
        start()

    def _start_next(self) -> None:
        self._has_started_one = False
        if self._waiting:
            self.start_in_turn(self._waiting.popleft())


def lifespan_state(load_shedder: LoadShedder) -> dict[str, Any]:
    """The state that the application's lifespan shares with the connections of its server."""
    return {_STATE_KEY: load_shedder}


def find_load_shedder(state: Mapping[str, Any]) -> LoadShedder | None:
    """The load shedder in a lifespan's state; None if the application has none."""
    return state.get(_STATE_KEY)
