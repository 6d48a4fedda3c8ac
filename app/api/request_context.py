"""What the service knows about a request while it answers it."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import Scope

REQUEST_ID_HEADER: Final = "X-Request-ID"
_VALID_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_STATE_KEY: Final = "request_context"


@dataclass(slots=True)
class RequestContext:
    """The state of one request, shared by the connection, the middleware and the routes.

    Attributes:
        request_id: from the header `X-Request-ID`, or generated.
        received_at: when its headers were complete (`time.perf_counter`).
        log_fields: further fields of its log line.
        problem_code: the code of the problem it was answered with; empty without one.
        release_place: ends the reservation of a place in the queue, if the connection made one.
    """

    request_id: str
    received_at: float = field(default_factory=time.perf_counter)
    log_fields: dict[str, Any] = field(default_factory=dict)
    problem_code: str = ""
    release_place: Callable[[], None] | None = None


def request_context(scope: Scope) -> RequestContext:
    """The context of a request, created by the first call for its ASGI scope."""
    state = scope.setdefault("state", {})
    context: RequestContext | None = state.get(_STATE_KEY)
    if context is None:
        context = state[_STATE_KEY] = RequestContext(_request_id(scope))
    return context


def _request_id(scope: Scope) -> str:
    """The client's id if it is safe to log, else a new one."""
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return given if _VALID_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
