"""Record every answer in the audit: with `required` before it is sent, with `on` meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from starlette.types import Message, Scope, Send

from app.access.caller import ANONYMOUS
from app.api.problems import problem_of, problem_response
from app.api.request_context import RequestContext, SlideNote, request_context
from app.api.route_scopes import ALWAYS_OPEN
from app.api.unrouted import route_of
from app.audit.records import AuditRecord
from app.audit.writer import AuditWriter
from app.core.access_errors import (
    AuditUnavailableError,
    CredentialsInvalidError,
    CredentialsMissingError,
)
from app.core.errors import OsteoError
from app.inference.results import TileResult
from app.serving.rollout import ModelSwitch
from app.telemetry.tracing import stage

_SERVICE: Final = "service"  # switches the model at start, and when it finds a newer version
_UNKNOWN_CALLER_CODES: Final = (CredentialsMissingError.code, CredentialsInvalidError.code)
_current: ContextVar[RequestContext | None] = ContextVar("request", default=None)


class Auditor:
    """Turns what requests did into records; used from the event loop only."""

    def __init__(self, writer: AuditWriter | None, *, is_required: bool) -> None:
        """Record nothing without a writer."""
        self._writer = writer
        self._is_required = is_required
        self._runtimes: dict[str, ModelSwitch] = {}  # by the SHA-256 of the bundle

    def note_switch(self, switch: ModelSwitch) -> None:
        """Record a switch of the version, with the answer to the request that asked for it."""
        self._runtimes[switch.current.bundle_sha256] = switch
        context = _current.get()
        if context is not None:
            context.switches.append(switch)
        elif self._writer is not None:
            self._writer.submit(_switch_record(switch, _SERVICE, "service"))

    @contextmanager
    def noting_switches(self, scope: Scope) -> Iterator[None]:
        """Attribute the switches of a request to its caller, even if it is never answered."""
        context = request_context(scope)
        token = _current.set(context)
        try:
            yield
        finally:
            _current.reset(token)
            while context.switches and self._writer is not None:
                switch = context.switches.pop(0)
                self._writer.submit(_request_switch_record(scope, context, switch))

    def record_before(self, scope: Scope, send: Send) -> Send:
        """A `send` that records what a request did before it sends the answer.

        If the answer must be recorded and cannot be, a problem takes its place.
        """
        if self._writer is None:
            return send
        is_replaced = False

        async def send_recorded(message: Message) -> None:
            nonlocal is_replaced
            if message["type"] == "http.response.start":
                try:
                    await self._record(scope, message["status"])
                except AuditUnavailableError as error:
                    is_replaced = True
                    await problem_response(scope, error)(scope, _receive_nothing, send)
            if not is_replaced:
                await send(message)

        return send_recorded

    async def _record(self, scope: Scope, status: int) -> None:
        """Record the results and switches of a request, and a problem that must be recorded now.

        Raises:
            AuditUnavailableError: they must be recorded before the answer and cannot be.
        """
        context = request_context(scope)
        records = [
            *(self._result_record(scope, context, status, *found) for found in context.results),
            *(_request_switch_record(scope, context, switch) for switch in context.switches),
            *(_slide_record(scope, context, status, note) for note in context.slide_notes),
        ]
        has_refusal = self._must_wait(scope, context)
        if has_refusal:
            records.append(_refusal_record(context, route_of(scope), status))
        if self._writer is None or not records:
            return
        has_changed = bool(context.switches or context.slide_notes)
        context.switches.clear()
        if self._is_required:
            with stage("audit"):
                await self._writer.commit(records, is_done=has_changed)
            context.is_refusal_recorded = has_refusal
            return
        for record in records:
            self._writer.submit(record)

    def _must_wait(self, scope: Scope, context: RequestContext) -> bool:
        """Whether a problem may only be sent once it is recorded.

        Strangers do not wait: a flood of theirs must not write to the database at its own rate.
        """
        is_identified = context.caller is not None and context.caller != ANONYMOUS
        is_refusal = bool(context.problem_code) and not context.results
        return (
            self._is_required
            and is_identified
            and is_refusal
            and route_of(scope) not in ALWAYS_OPEN
        )

    def note_refusal(self, scope: Scope, route: str, status: int) -> None:
        """Record an answer without a result; equal ones within a second are summed.

        So is an answer that could not be recorded, whose place a problem took.

        Probes are left out: an orchestrator sends them every few seconds.
        """
        context = request_context(scope)
        if self._writer is None or not context.problem_code or context.is_refusal_recorded:
            return
        is_replaced = context.problem_code == AuditUnavailableError.code
        if route in ALWAYS_OPEN or (context.results and not is_replaced):
            return
        self._writer.submit_refusal(_refusal_record(context, route, status))

    def _result_record(
        self,
        scope: Scope,
        context: RequestContext,
        status: int,
        index: int | None,
        result: TileResult | OsteoError,
    ) -> AuditRecord:
        route = route_of(scope)
        if isinstance(result, OsteoError):
            problem = problem_of(result, context.request_id)
            fields = _request_fields(context, route, problem.status)
            return AuditRecord(event="refusal", **fields, index=index, reason=result.code)
        served = self._runtimes.get(result.model.bundle_sha256)
        return AuditRecord(
            event="answer",
            **_request_fields(context, route, status),
            index=index,
            tile_sha256=result.tile.sha256,
            model_name=result.model.name,
            model_version=result.model.version,
            bundle_sha256=result.model.bundle_sha256,
            runtime=served.runtime if served else None,
            precision=served.precision if served else None,
            probabilities=result.probabilities,
            prediction=result.prediction,
            prediction_set=result.prediction_set.labels,
            review_reasons=list(result.review.reasons),
        )


def _request_fields(context: RequestContext, route: str, status: int) -> dict[str, Any]:
    caller = context.caller
    return {
        "caller": caller.name if caller else None,
        "caller_kind": caller.kind if caller else None,
        "request_id": context.request_id,
        "route": route,
        "status": status,
    }


def _refusal_record(context: RequestContext, route: str, status: int) -> AuditRecord:
    is_unknown = context.problem_code in _UNKNOWN_CALLER_CODES
    return AuditRecord(
        event="refusal",
        **_request_fields(context, route, status),
        reason=context.problem_code,
        details={"credentials": context.refusal_reason} if is_unknown else None,
    )


def _slide_record(
    scope: Scope, context: RequestContext, status: int, note: SlideNote
) -> AuditRecord:
    return AuditRecord(
        event=note.event,
        **_request_fields(context, route_of(scope), status),
        model_name=note.model.name if note.model else None,
        model_version=note.model.version if note.model else None,
        bundle_sha256=note.model.bundle_sha256 if note.model else None,
        details=note.details,
    )


def _request_switch_record(
    scope: Scope, context: RequestContext, switch: ModelSwitch
) -> AuditRecord:
    caller = context.caller
    return _switch_record(
        switch,
        caller.name if caller else None,
        caller.kind if caller else None,
        context.request_id,
        getattr(scope.get("route"), "path", None),
    )


def _switch_record(
    switch: ModelSwitch,
    caller: str | None,
    caller_kind: str | None,
    request_id: str | None = None,
    route: str | None = None,
) -> AuditRecord:
    previous = switch.previous
    return AuditRecord(
        event="rollback" if route == "/v1/models/rollback" else "activation",
        caller=caller,
        caller_kind=caller_kind,
        request_id=request_id,
        route=route,
        model_name=switch.current.name,
        model_version=switch.current.version,
        bundle_sha256=switch.current.bundle_sha256,
        runtime=switch.runtime,
        precision=switch.precision,
        details={"from": previous.model_dump() if previous else None},
    )


async def _receive_nothing() -> Message:
    return {"type": "http.disconnect"}
