"""Spans around the parts of a request's work. Without a trace they cost almost nothing.

The trace is in the context of the task that works on the request. New tasks of the event loop get a
copy of the context; `carried` passes it to a function that runs in another thread.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token, copy_context
from functools import partial
from typing import Final, Literal, NamedTuple, ParamSpec, Protocol, TypeVar

Arguments = ParamSpec("Arguments")
Done = TypeVar("Done")


class EndedSpan(NamedTuple):
    """A part of a request's work that is over.

    Attributes:
        name: such as `decode`.
        span_id: 64 random bits.
        started_ns, ended_ns: by `time.perf_counter_ns`.
        attributes: numbers and words of a bounded set. `osteo.request_id` of the request's own
            span is the only text of a caller.
        error: the name of the exception that ended it; None if none did.
        is_call: whether it is a request to another service.
    """

    name: str
    span_id: int
    started_ns: int
    ended_ns: int
    attributes: dict[str, str | int]
    error: str | None = None
    is_call: bool = False


class Trace(Protocol):
    """The trace of one request; any thread may record spans of it."""

    is_sampled: bool
    is_over: bool

    @property
    def log_fields(self) -> Mapping[str, str | bool]:
        """The ids, for a log line."""

    def record(self, span: EndedSpan) -> None:
        """Hand a span over for export; never waits."""

    def headers(self, span_id: int | None = None) -> dict[str, str]:
        """`traceparent` (W3C Trace Context) for a request to another service.

        A caller's `tracestate` is its own text, so it is not among them.

        Args:
            span_id: of the span of that request; the trace's own if None.
        """


class Stage:
    """A span that has begun, and ends with its `with` block or with `end`."""

    __slots__ = ("_attributes", "_is_call", "_name", "_open", "_started_ns", "_trace", "span_id")

    def __init__(self, trace: Trace, name: str, *, is_call: bool = False) -> None:
        """Begin."""
        self.span_id = new_span_id()
        self._trace, self._name, self._is_call = trace, name, is_call
        number = _tile_number.get()
        self._attributes: dict[str, str | int] = (
            {} if number is None else {"osteo.tile_index": number}
        )
        self._open = [True]
        self._started_ns = time.perf_counter_ns()

    def note(self, name: str, value: str | int) -> None:
        """Add an attribute."""
        self._attributes[name] = value

    def end(self, error: BaseException | None = None) -> None:
        """End it; further calls do nothing, from whatever thread they come."""
        ended_ns = time.perf_counter_ns()
        try:
            self._open.pop()
        except IndexError:
            return
        failure = None if error is None else type(error).__name__
        self._trace.record(
            EndedSpan(
                self._name,
                self.span_id,
                self._started_ns,
                ended_ns,
                self._attributes,
                failure,
                self._is_call,
            )
        )

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self.end(error)


class NoStage:
    """Takes the place of a span that nobody wants."""

    __slots__ = ()

    def note(self, name: str, value: str | int) -> None:
        """Do nothing."""

    def end(self, error: BaseException | None = None) -> None:
        """Do nothing."""

    def __enter__(self) -> NoStage:
        return self

    def __exit__(self, _type: object, _error: object, _traceback: object) -> None:
        pass


_NO_STAGE: Final = NoStage()
_NO_TRACE: Final[AbstractContextManager[None]] = nullcontext()
_current: Final[ContextVar[Trace | None]] = ContextVar("trace", default=None)
_tile_number: Final[ContextVar[int | None]] = ContextVar("tile_number", default=None)
_queue_stage: Final[ContextVar[Stage | NoStage]] = ContextVar("queue_stage", default=_NO_STAGE)


def current_trace() -> Trace | None:
    """The trace of the request for which this code runs; None if it is off or over."""
    trace = _current.get()
    return None if trace is None or trace.is_over else trace


def tracing(trace: Trace | None) -> AbstractContextManager[None]:
    """Make a trace the current one during a `with` block."""
    return _NO_TRACE if trace is None else _Tracing(trace)


def stage(name: Literal["read", "decode", "infer", "assess", "encode", "audit"]) -> Stage | NoStage:
    """Begin a span; use it in a `with` statement."""
    trace = _current.get()
    return Stage(trace, name) if trace is not None and trace.is_sampled else _NO_STAGE


def enter_queue() -> Stage | NoStage:
    """Begin the span of a tile that waits; `leave_queue` ends it, also in another thread."""
    trace = _current.get()
    if trace is None or not trace.is_sampled:
        return _NO_STAGE
    queued = Stage(trace, "queue")
    _queue_stage.set(queued)
    return queued


def leave_queue() -> None:
    """End the span of waiting: the work on the tile begins."""
    _queue_stage.get().end()


def number_tile(index: int) -> None:
    """Let the spans of this context tell which tile of a batch they belong to."""
    if _current.get() is not None:
        _tile_number.set(index)


@contextmanager
def calling(name: Literal["DICOMweb", "identity provider"]) -> Iterator[dict[str, str]]:
    """Begin the span of requests to another service; yields the headers that they are to carry."""
    trace = current_trace()
    if trace is None:
        yield {}
    elif not trace.is_sampled:
        yield trace.headers()
    else:
        with Stage(trace, name, is_call=True) as span:
            yield trace.headers(span.span_id)


def carried(function: Callable[Arguments, Done]) -> Callable[Arguments, Done]:
    """The function, to be called once in another thread, with the trace of this context."""
    return function if _current.get() is None else partial(copy_context().run, function)


def new_span_id() -> int:
    """64 random bits, not all 0."""
    return random.getrandbits(64) or 1


class _Tracing:
    """Sets the current trace; a generator would take longer."""

    __slots__ = ("_token", "_trace")

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._token: Token[Trace | None] | None = None

    def __enter__(self) -> None:
        self._token = _current.set(self._trace)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _current.reset(self._token)
