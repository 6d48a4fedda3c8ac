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

from app.core.header_errors import RequestIdError

REQUEST_ID_HEADER: Final = "X-Request-ID"
REQUEST_ID_PATTERN: Final = "^[ -~]{1,128}$"
"""Printable ASCII, so that an order or accession number fits in; safe in headers and logs."""
_STATE_KEY: Final = "request_context"


@dataclass(slots=True)
class RequestContext:
    """The state of one request, shared by the connection, the middleware and the routes.

    Attributes:
        request_id: from the header `X-Request-ID`, or generated.
        request_id_error: why the client's id is refused; None if it is not.
        received_at: when its headers were complete (`time.perf_counter`).
        log_fields: further fields of its log line.
        problem_code: the code of the problem it was answered with; empty without one.
        certificate_subject: whom the verified client certificate of the connection names, such as
            "CN=lis,O=Hospital" (RFC 4514); None without one.
        release_place: ends the reservation of a place in the queue, if the connection made one.
    """

    request_id: str
    request_id_error: RequestIdError | None = None
    received_at: float = field(default_factory=time.perf_counter)
    log_fields: dict[str, Any] = field(default_factory=dict)
    problem_code: str = ""
    certificate_subject: str | None = None
    release_place: Callable[[], None] | None = None


def request_context(scope: Scope) -> RequestContext:
    """The context of a request, created by the first call for its ASGI scope."""
    state = scope.setdefault("state", {})
    context: RequestContext | None = state.get(_STATE_KEY)
    if context is None:
        context = state[_STATE_KEY] = _new_context(scope)
    return context


def _new_context(scope: Scope) -> RequestContext:
    """Take the client's id; generate one if there is none or it is refused."""
    given = [value.strip(" \t") for value in Headers(scope=scope).getlist(REQUEST_ID_HEADER)]
    if len(given) == 1 and re.fullmatch(REQUEST_ID_PATTERN, given[0]):
        return RequestContext(given[0])
    error = RequestIdError(len(given), REQUEST_ID_PATTERN) if given else None
    return RequestContext(uuid.uuid4().hex, error)
