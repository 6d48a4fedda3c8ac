"""What the service knows about a request while it answers it."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from starlette.datastructures import Headers
from starlette.types import Scope

from app.access.caller import Caller
from app.access.rate_limits import Allowance
from app.core.errors import OsteoError
from app.core.header_errors import RequestIdError
from app.inference.results import ModelIdentity, TileResult
from app.serving.rollout import ModelSwitch

if TYPE_CHECKING:
    from app.telemetry.request_traces import RequestTrace

REQUEST_ID_HEADER: Final = "X-Request-ID"
REQUEST_ID_PATTERN: Final = "^[ -~]{1,128}$"
"""Printable ASCII, so that an order or accession number fits in; safe in headers and logs."""
_STATE_KEY: Final = "request_context"


SlideEvent = Literal[
    "slide-added",
    "slide-deleted",
    "job-submitted",
    "job-cancelled",
    "job-deleted",
    "slide-answer",
]


@dataclass(frozen=True, slots=True)
class SlideNote:
    """What a request did with a slide.

    Attributes:
        event: what happened.
        model: that classifies or classified it, if there is one.
        details: plain JSON; no names of files.
    """

    event: SlideEvent
    model: ModelIdentity | None
    details: Mapping[str, object]


@dataclass(slots=True)
class RequestContext:
    """The state of one request, shared by the connection, the middleware and the routes.

    Attributes:
        request_id: from the header `X-Request-ID`, or generated.
        request_id_error: why the client's id is refused; None if it is not.
        received_at: when its headers were complete (`time.perf_counter`).
        log_fields: further fields of its log line.
        trace: its trace; None if it has none.
        problem_code: the code of the problem it was answered with; empty without one.
        certificate_subject: whom the verified client certificate of the connection names, such as
            "CN=lis,O=Hospital" (RFC 4514); None without one.
        release_place: ends the reservation of a place in the queue, if the connection made one.
        caller: who sent it; None while that is not known.
        is_admitted: whether the caller may send it.
        refusal_reason: why it may not, in a word such as `expired`; empty if it may. An error here
            would keep itself alive through the frames of its traceback.
        refusal_delay_s: seconds by which the refusal is to be delayed.
        allowance: what is left of the caller's rate limit, if there is one.
        results: by tile, its position in a batch (None for a single tile) and its result.
        slide_notes: what it did with slides.
        switches: versions of the model that the request switched, from and to.
        is_refusal_recorded: whether the audit has the problem that it was answered with.
    """

    request_id: str
    request_id_error: RequestIdError | None = None
    received_at: float = field(default_factory=time.perf_counter)
    log_fields: dict[str, Any] = field(default_factory=dict)
    trace: RequestTrace | None = None
    problem_code: str = ""
    certificate_subject: str | None = None
    release_place: Callable[[], None] | None = None
    caller: Caller | None = None
    is_admitted: bool = False
    refusal_reason: str = ""
    refusal_delay_s: float = 0.0
    allowance: Allowance | None = None
    results: list[tuple[int | None, TileResult | OsteoError]] = field(default_factory=list)
    slide_notes: list[SlideNote] = field(default_factory=list)
    switches: list[ModelSwitch] = field(default_factory=list)
    is_refusal_recorded: bool = False


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
